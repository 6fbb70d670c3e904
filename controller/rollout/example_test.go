package rollout_test

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A region of one agent takes its first release. The shell journals the state after every
// step and carries out the effects; here they are printed.
func ExampleStep() {
	s := rollout.State{Record: rollout.Record{App: "edge-proxy"}}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	step := func(e rollout.Event) {
		var effects []rollout.Effect
		s, effects = rollout.Step(s, e)
		for _, eff := range effects {
			switch eff := eff.(type) {
			case rollout.Decide:
				fmt.Println("decide ", eff.Decision.Reason)
			case rollout.Publish:
				if n := rollout.OrderFor(s, eff.Region).Next; n != nil {
					fmt.Println("publish", eff.Region, n.Phase, n.Version, "epoch", n.Epoch)
				} else {
					fmt.Println("publish", eff.Region, "committed")
				}
			case rollout.Purge:
				fmt.Println("purge  ", eff.Region, "epoch", eff.Epoch, "round", eff.Round)
			}
		}
	}
	bundle := wire.Target{
		Digest: wire.DigestOf([]byte("manifest")), Version: "1.4.0",
		Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("pack"))}},
	}
	step(rollout.Members{Now: now, Region: "eu-west", Agents: []rollout.Member{{ID: "edge-1"}}})
	start := rollout.Start{
		Now: now, ID: "r1", By: "kim", Seed: "a random text", Target: bundle,
		Plan: rollout.DefaultPlan([]wire.Region{"eu-west"}),
	}
	if err := rollout.Check(s, start); err != nil {
		fmt.Println(err)
		return
	}
	step(start)
	report := func(seq uint64, r wire.AppReport) {
		now = now.Add(time.Second)
		step(rollout.Reported{Now: now, Region: "eu-west", Agent: "edge-1", Stored: now, Incarnation: 1, Sequence: seq, Report: r})
	}
	report(1, wire.AppReport{Next: &wire.Progress{Epoch: 1, Digest: bundle.Digest, Version: "1.4.0", State: wire.StateStaged}})
	report(2, wire.AppReport{Running: &wire.Running{Epoch: 1, Digest: bundle.Digest, Version: "1.4.0", State: wire.StateConfirmed}})
	// Output:
	// decide  rollout r1 of edge-proxy 1.4.0 in 1 wave, started by kim
	// publish eu-west stage 1.4.0 epoch 1
	// decide  1 of 1 live agents of eu-west have 1.4.0 staged, 0 failed
	// decide  activating 1.4.0 in eu-west: wave 1 is current and 1 live agents have it staged
	// decide  1 more of 1 live agents of eu-west may switch: 0 in flight, at most 1
	// publish eu-west activate 1.4.0 epoch 1
	// decide  step 1 of 4 in eu-west is confirmed by 1 agent; baking 1m0s
}
