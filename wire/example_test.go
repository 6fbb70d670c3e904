package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// key makes a key that is the same in every run. Real ones come from crypto/rand.
func key(n byte) wire.PrivateKey {
	k, err := wire.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		panic(err)
	}
	return k
}

// The controller signs what a region shall run; an agent opens it with the root it was
// enrolled with.
func Example_desired() {
	controller := key(2)
	root := &wire.Root{Fleet: "prod", Version: 1, Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		Roles: map[wire.Role]wire.KeyRole{
			wire.RoleRoot:       {Threshold: 1, Keys: []wire.PublicKey{key(1).Public()}},
			wire.RoleController: {Threshold: 1, Keys: []wire.PublicKey{controller.Public()}},
			wire.RoleAuthor:     {Threshold: 1, Keys: []wire.PublicKey{key(3).Public()}},
		}}
	payload, _ := root.Encode()
	envelope, _ := wire.Seal(wire.TypeRoot, payload, key(1))
	trust, err := wire.NewTrust(envelope)
	if err != nil {
		fmt.Println(err)
		return
	}

	order := &wire.Desired{Fleet: "prod", Region: "eu-west", Sequence: 42, Issued: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Apps: map[wire.App]wire.Order{"waf": {Base: &wire.Target{Epoch: 17, Version: "1.4.0",
			Digest: wire.DigestOf([]byte("the manifest")), Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("the index"))}}}}}}
	payload, _ = order.Encode()
	signed, _ := wire.Seal(wire.TypeDesired, payload, controller)

	desired, err := trust.OpenDesired(signed, "eu-west")
	fmt.Println(desired.Sequence, desired.Apps["waf"].Base.Version, err)

	_, err = trust.OpenDesired(signed, "us-east")
	fmt.Println(err)

	forged, _ := wire.Seal(wire.TypeDesired, payload, key(3))
	_, err = trust.OpenDesired(forged, "eu-west")
	fmt.Println(errors.Is(err, wire.ErrSignature), err)
	// Output:
	// 42 1.4.0 <nil>
	// desired: region: is "eu-west", want "us-east"
	// true desired: signature not accepted: 0 good signatures of 1 trusted keys, want 1
}

// The controller widens a cohort by raising its cut-off to the score of the k-th agent;
// every agent finds out alone whether it is in.
func ExampleCohort() {
	agents := []wire.AgentID{"node-a", "node-b", "node-c", "node-d"}
	cohort := wire.Cohort{Seed: "rollout-17", Named: []wire.AgentID{"node-d"}}
	for _, cutOff := range []wire.Score{0, 1 << 63, wire.AllScores} {
		cohort.CutOff = cutOff
		fmt.Print(cutOff, ":")
		for _, a := range agents {
			if cohort.Has(a) {
				fmt.Print(" ", a)
			}
		}
		fmt.Println()
	}
	// Output:
	// 0000000000000000: node-d
	// 8000000000000000: node-b node-c node-d
	// ffffffffffffffff: node-a node-b node-c node-d
}
