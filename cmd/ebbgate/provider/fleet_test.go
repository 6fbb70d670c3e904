package provider

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/membus"
	"github.com/ebbgate/ebbgate/wire/pack"
)

func init() { every = time.Millisecond }

// fleet is the rest of the world for one agent: keys, a bus, a controller that orders.
type fleet struct {
	t        *testing.T
	dir      string
	author   wire.PrivateKey
	control  wire.PrivateKey
	bus      *membus.Bus
	ctl      wire.ControllerBus
	fence    wire.Fence
	sequence uint64
	log      servertest.Log
	agent    *agent.Agent
	stop     func()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) wire.PrivateKey {
	t.Helper()
	k, err := wire.GenerateKey(rand.Reader)
	check(t, err)
	return k
}

// newFleet writes what enrolment does, with the targets of provider-agent.yaml.
func newFleet(t *testing.T, targets string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), author: newKey(t), control: newKey(t)}
	root := newKey(t)
	payload, err := (&wire.Root{Fleet: "lab", Version: 1, Expires: time.Now().Add(time.Hour), Roles: map[wire.Role]wire.KeyRole{
		wire.RoleRoot:       {Threshold: 1, Keys: []wire.PublicKey{root.Public()}},
		wire.RoleAuthor:     {Threshold: 1, Keys: []wire.PublicKey{f.author.Public()}},
		wire.RoleController: {Threshold: 1, Keys: []wire.PublicKey{f.control.Public()}},
	}}).Encode()
	check(t, err)
	envelope, err := wire.Seal(wire.TypeRoot, payload, root)
	check(t, err)
	write(t, f.dir, "root.json", string(envelope))
	write(t, f.dir, "agent.key", newKey(t).Secret())
	write(t, f.dir, "token", "c0nfigtest-canary-token\n")
	write(t, f.dir, "provider-agent.yaml", enrolled+"heartbeat: 100ms\nprobe: 200ms\ntargets:\n"+targets)
	f.bus, err = membus.New(membus.Config{})
	check(t, err)
	t.Cleanup(f.bus.Close)
	f.ctl = f.bus.Controller("c")
	check(t, f.ctl.Setup(t.Context(), 1))
	f.fence, err = f.ctl.TakeLease(t.Context(), "c", 0)
	check(t, err)
	f.start()
	t.Cleanup(func() {
		f.stop()
		if t.Failed() {
			t.Log(f.log.String())
		}
	})
	return f
}

// start runs an agent until stop is called.
func (f *fleet) start() {
	f.t.Helper()
	cfg, err := Read(filepath.Join(f.dir, "provider-agent.yaml"))
	check(f.t, err)
	cfg.Bus, cfg.Logger = f.bus.Agent("cdn-1"), slog.New(slog.NewTextHandler(&f.log, nil))
	f.agent, err = agent.New(cfg)
	check(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func(a *agent.Agent) { done <- a.Run(ctx) }(f.agent)
	f.stop = sync.OnceFunc(func() {
		cancel()
		check(f.t, <-done)
		check(f.t, f.agent.Close())
	})
}

// publish signs and stores a bundle.
func (f *fleet) publish(version wire.Version, files map[string]string, probes ...wire.Probe) wire.Target {
	f.t.Helper()
	m := wire.Manifest{Format: 1, Fleet: "lab", App: "waf", Version: version, Probes: probes}
	data := make(map[wire.Digest]string)
	for _, p := range wire.Keys(files) {
		d := wire.DigestOf([]byte(files[p]))
		data[d] = files[p]
		m.Files = append(m.Files, wire.File{Path: p, Mode: wire.ModeRegular, Size: int64(len(files[p])), SHA256: d})
	}
	payload, err := m.Encode()
	check(f.t, err)
	signatures, err := wire.Sign(wire.TypeManifest, payload, f.author)
	check(f.t, err)
	_, index, err := pack.Write(f.t.Context(), pack.Source{Payload: payload, Signatures: signatures,
		Open: func(d wire.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data[d])), nil }},
		func(ctx context.Context, d wire.Digest, b []byte) error {
			return f.ctl.PutBlob(ctx, d, slices.Clone(b))
		})
	check(f.t, err)
	return wire.Target{Digest: wire.DigestOf(payload), Version: version, Packs: []wire.PackRef{{Index: index}}, Soak: wire.Duration(time.Millisecond)}
}

// order makes the region go to t under the next epoch.
func (f *fleet) order(base *wire.Target, t wire.Target) wire.Target {
	f.t.Helper()
	f.sequence++
	t.Epoch = wire.Epoch(f.sequence)
	d := wire.Desired{Fleet: "lab", Region: "cdn", Sequence: f.sequence, Issued: time.Now().UTC(), Apps: map[wire.App]wire.Order{"waf": {
		Base: base, Next: &wire.Transit{Target: t, Phase: wire.PhaseActivate, Cohort: wire.Cohort{Seed: "s", CutOff: wire.AllScores}},
	}}}
	payload, err := d.Encode()
	check(f.t, err)
	envelope, err := wire.Seal(wire.TypeDesired, payload, f.control)
	check(f.t, err)
	check(f.t, f.ctl.PutWant(f.t.Context(), f.fence, "cdn", envelope))
	return t
}

// status asks the agent over its socket.
func (f *fleet) status() wire.AppReport {
	s, err := agent.AskStatus(f.t.Context(), filepath.Join(f.dir, "state", "agent.sock"))
	if err != nil {
		return wire.AppReport{} // it starts
	}
	return s.Report.Apps["waf"]
}

// eventually waits until the report is as wanted.
func (f *fleet) eventually(what string, ok func(wire.AppReport) bool) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r := f.status()
		if ok(r) {
			return
		}
		if time.Now().After(end) {
			text, _ := wire.EncodeJSON(r)
			f.t.Fatalf("never: %s: %s", what, text)
		}
	}
}

// runs reports whether an epoch is confirmed, and soaked perhaps.
func runs(e wire.Epoch) func(wire.AppReport) bool {
	return func(r wire.AppReport) bool {
		return r.Running != nil && r.Running.Epoch == e && (r.Running.State == wire.StateConfirmed || r.Running.State == wire.StateCommitted)
	}
}

// ended reports whether an epoch has failed in a state, for a reason.
func ended(e wire.Epoch, s wire.State, why string) func(wire.AppReport) bool {
	return func(r wire.AppReport) bool {
		return r.Next != nil && r.Next.Epoch == e && r.Next.State == s && strings.Contains(r.Next.Error, why)
	}
}
