package wire

import (
	"bytes"
	"testing"
	"time"
)

// The documents the tests start from: complete, valid, and signed with fixed keys.

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func digest(s string) Digest { return DigestOf([]byte(s)) }

// testKey returns a key made of 32 times n.
func testKey(n byte) PrivateKey {
	k, err := GenerateKey(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		panic(err)
	}
	return k
}

func publics(ns ...byte) (keys []PublicKey) {
	for _, n := range ns {
		keys = append(keys, testKey(n).Public())
	}
	return keys
}

// goodRoot has root keys 1–3 (two sign), author keys 4 and 5 (both sign) and the
// controller's key 6.
func goodRoot() *Root {
	return &Root{Fleet: "prod", Version: 7, Expires: noon.AddDate(1, 0, 0), Roles: map[Role]KeyRole{
		RoleRoot:       {2, publics(1, 2, 3)},
		RoleAuthor:     {2, publics(4, 5)},
		RoleController: {1, publics(6)},
	}}
}

func goodManifest() *Manifest {
	return &Manifest{Format: 1, Fleet: "prod", App: "edge-proxy", Version: "1.4.0", Floor: "1.2",
		Limits: Limits{Files: 10, Bytes: 1000, File: 500, Growth: 1.5},
		Files: []File{
			{"conf/nginx.conf", ModeRegular, 120, digest("nginx")},
			{"conf/sites/a.conf", ModeRegular, 80, digest("a")},
			{"hooks/warm", ModeExecutable, 0, digest("")},
		},
		Overlays: map[Region][]File{
			"eu-west":  {{"conf/nginx.conf", ModeRegular, 130, digest("nginx eu")}, {"conf/z.conf", ModeRegular, 80, digest("a")}},
			"ap-south": {{"a.conf", ModeRegular, 9, digest("ap")}},
		},
		Probes: []Probe{{"/health?deep=1", "www.example.com", 200, "ok"}},
		Purge:  []PurgeRule{{"conf/**", []string{"key:rules@{region}-{epoch}"}}},
		Hooks:  []string{"warm-cache"},
	}
}

func goodDesired() *Desired {
	base := Target{Epoch: 16, Digest: digest("old"), Version: "1.3.9", Packs: []PackRef{{Index: digest("old pack")}}, Soak: Duration(10 * time.Minute)}
	next := Target{Epoch: 17, Digest: digest("new"), Version: "1.4.0", Soak: Duration(10 * time.Minute),
		Packs: []PackRef{{Base: digest("old"), Index: digest("delta")}, {Index: digest("new pack")}}}
	return &Desired{Fleet: "prod", Region: "eu-west", Sequence: 42, Issued: noon, Apps: map[App]Order{
		"waf": {Base: &base},
		"edge-proxy": {Base: &base, Next: &Transit{Target: next, Phase: PhaseActivate,
			Cohort:    Cohort{Seed: "r-17", CutOff: 1 << 60, Named: []AgentID{"node-a", "node-b"}, Except: []AgentID{"node-c"}},
			NotBefore: noon, Expires: noon.Add(time.Hour), Healthy: Duration(30 * time.Second)}},
	}}
}

func goodReport() *Report {
	return &Report{Fleet: "prod", Region: "eu-west", Agent: "node-a", Incarnation: 3, Sequence: 9, At: noon, Build: "0.1.0", Desired: 42,
		Apps: map[App]AppReport{"edge-proxy": {Plane: "nginx/1.28.0", Traits: []string{TraitDropFree},
			Running: &Running{Epoch: 16, Digest: digest("old"), Version: "1.3.9", State: StateCommitted, Since: noon, Evidence: "eu-west-16 on 4 connections", Crashes: 1},
			Next:    &Progress{Epoch: 17, Digest: digest("new"), Version: "1.4.0", State: StateFailed, Error: "nginx -t: unknown directive"},
			LKG:     digest("old"), Bad: []Digest{digest("new")}}},
		Refused: map[string]uint64{"desired": 2}, Members: []AgentID{"node-a", "node-b"}}
}

func goodBeacon() *Beacon {
	return &Beacon{Fleet: "prod", At: noon, Heads: map[Region]uint64{"eu-west": 42, "ap-south": 40}, Root: 7, Audit: digest("audit")}
}

// sealed encodes and seals a document.
func sealed(t testing.TB, payloadType string, doc document, keys ...PrivateKey) []byte {
	t.Helper()
	payload, err := encode(doc)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Seal(payloadType, payload, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func goodTrust(t testing.TB) *Trust {
	t.Helper()
	tr, err := NewTrust(sealed(t, TypeRoot, goodRoot(), testKey(1), testKey(2)))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
