package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

const (
	testFleet  = wire.Fleet("lab")
	testRegion = wire.Region("eu")
	testApp    = wire.App("web")
	testAgent  = wire.AgentID("n1")
)

// fleet is the rest of the world: keys, a controller that orders, a place for blobs.
type fleet struct {
	t         *testing.T
	dir       string
	author    wire.PrivateKey
	control   wire.PrivateKey
	node      wire.PrivateKey
	sequence  uint64
	listen    string
	files     bool // agents in processes of their own have a data plane of kind files
	put       func(d wire.Digest, data []byte)
	want      func(envelope []byte)
	reconnect func() wire.AgentBus
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), author: newKey(t), control: newKey(t), node: newKey(t)}
	rootKey := newKey(t)
	root := wire.Root{Fleet: testFleet, Version: 1, Expires: time.Now().Add(time.Hour), Roles: map[wire.Role]wire.KeyRole{
		wire.RoleRoot:       {Threshold: 1, Keys: []wire.PublicKey{rootKey.Public()}},
		wire.RoleAuthor:     {Threshold: 1, Keys: []wire.PublicKey{f.author.Public()}},
		wire.RoleController: {Threshold: 1, Keys: []wire.PublicKey{f.control.Public()}},
	}}
	payload, err := root.Encode()
	check(t, err)
	envelope, err := wire.Seal(wire.TypeRoot, payload, rootKey)
	check(t, err)
	check(t, os.WriteFile(f.path("root.json"), envelope, 0o600))
	check(t, os.WriteFile(f.path("agent.key"), []byte(f.node.Secret()), 0o600))
	f.listen = servertest.FreeAddress(t)
	return f
}

func (f *fleet) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// config returns the node's configuration, with everything quick.
func (f *fleet) config(bus wire.AgentBus) Config {
	return Config{
		ID: testAgent, Region: testRegion, State: f.path("state"), Root: f.path("root.json"), Key: f.path("agent.key"),
		Bus: bus, Heartbeat: wire.Duration(100 * time.Millisecond), Probe: wire.Duration(300 * time.Millisecond),
		Apps:   map[wire.App]dataplane.Config{testApp: {Kind: dataplane.KindBuiltin, Listen: f.listen}},
		Logger: slog.New(slog.NewTextHandler(testLog{f.t}, nil)),
	}
}

// testLog shows an agent's log when its test fails.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// content is a bundle to be.
type content struct {
	version wire.Version
	floor   wire.Version
	limits  wire.Limits
	files   map[string]string
	probes  []wire.Probe
	hooks   []string
	app     wire.App
	author  *wire.PrivateKey // default: the fleet's
}

// site returns a bundle that serves one page.
func site(version, page string) content {
	return content{version: wire.Version(version), files: map[string]string{"site/index.html": page, "etc/rules.conf": strings.Repeat("rule "+page+"\n", 200)}}
}

// publish signs a bundle, packs it and puts its blobs.
func (f *fleet) publish(c content) wire.Target {
	f.t.Helper()
	m := wire.Manifest{Format: 1, Fleet: testFleet, App: testApp, Version: c.version, Floor: c.floor, Limits: c.limits, Probes: c.probes, Hooks: c.hooks}
	if c.app != "" {
		m.App = c.app
	}
	data := make(map[wire.Digest]string)
	for _, p := range wire.Keys(c.files) {
		d := wire.DigestOf([]byte(c.files[p]))
		data[d] = c.files[p]
		m.Files = append(m.Files, wire.File{Path: p, Mode: wire.ModeRegular, Size: int64(len(c.files[p])), SHA256: d})
	}
	payload, err := m.Encode()
	check(f.t, err)
	author := f.author
	if c.author != nil {
		author = *c.author
	}
	sigs, err := wire.Sign(wire.TypeManifest, payload, author)
	check(f.t, err)
	_, index, err := pack.Write(f.t.Context(), pack.Source{Payload: payload, Signatures: sigs,
		Open: func(d wire.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data[d])), nil }},
		func(_ context.Context, d wire.Digest, b []byte) error { f.put(d, slices.Clone(b)); return nil })
	check(f.t, err)
	return wire.Target{Digest: wire.DigestOf(payload), Version: c.version, Packs: []wire.PackRef{{Index: index}}, Soak: wire.Duration(time.Millisecond)}
}

// at returns t under an epoch.
func at(t wire.Target, e wire.Epoch) wire.Target {
	t.Epoch = e
	return t
}

// activate returns an order to run t now, everywhere.
func activate(base *wire.Target, t wire.Target) wire.Order {
	return wire.Order{Base: base, Next: &wire.Transit{Target: t, Phase: wire.PhaseActivate,
		Cohort: wire.Cohort{Seed: "s", CutOff: wire.AllScores}, Healthy: wire.Duration(50 * time.Millisecond)}}
}

// order signs and sends the next desired document.
func (f *fleet) order(o wire.Order) []byte {
	f.t.Helper()
	f.sequence++
	d := wire.Desired{Fleet: testFleet, Region: testRegion, Sequence: f.sequence, Issued: time.Now().UTC(), Apps: map[wire.App]wire.Order{testApp: o}}
	payload, err := d.Encode()
	check(f.t, err)
	envelope, err := wire.Seal(wire.TypeDesired, payload, f.control)
	check(f.t, err)
	f.want(envelope)
	return envelope
}

// run runs an agent until the returned function ends it in order.
func run(t *testing.T, cfg Config) (a *Agent, stop func()) {
	t.Helper()
	a, err := New(cfg)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var stopped bool
	stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		check(t, <-done)
		check(t, a.Close())
	}
	t.Cleanup(stop)
	return a, stop
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, 20*time.Second, what, ok)
}

func eventuallyWithin(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func newKey(t *testing.T) wire.PrivateKey {
	t.Helper()
	k, err := wire.GenerateKey(rand.Reader)
	check(t, err)
	return k
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fileBus is a bus in a directory: it outlives a process that is killed.
type fileBus struct {
	dir  string
	done chan struct{}
}

func newFileBus(dir string) *fileBus { return &fileBus{dir, make(chan struct{})} }

func (b *fileBus) write(name string, data []byte) error {
	tmp := filepath.Join(b.dir, fmt.Sprintf("%s.%d.tmp", name, os.Getpid()))
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(b.dir, name))
}

func (b *fileBus) read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if os.IsNotExist(err) {
		return nil, wire.ErrNotFound
	}
	return data, err
}

func (b *fileBus) Want(context.Context, wire.Region) ([]byte, error) { return b.read("want") }

func (b *fileBus) Blob(_ context.Context, d wire.Digest) ([]byte, error) { return b.read(d.String()) }

func (b *fileBus) Report(_ context.Context, _ wire.Region, _ wire.AgentID, envelope []byte) error {
	return b.write("report", envelope)
}

func (b *fileBus) Notes(_ wire.Region, f func([]byte)) (func(), error) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		f(nil)
		var last []byte
		for {
			if now, err := b.read("want"); err == nil && !bytes.Equal(now, last) {
				last = now
				f(now)
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() { close(stop); <-ended }, nil
}

func (b *fileBus) Beacons(func([]byte)) (func(), error) { return func() {}, nil }

func (b *fileBus) Close() {}

// lastReport returns the report last stored, nil when there is none.
func (f *fleet) lastReport(b *fileBus) *wire.Report {
	data, err := b.read("report")
	if err != nil {
		return nil
	}
	trustRoot, err := os.ReadFile(f.path("root.json"))
	check(f.t, err)
	trust, err := wire.NewTrust(trustRoot)
	check(f.t, err)
	r, err := trust.OpenReport(data, testAgent, f.node.Public())
	check(f.t, err)
	return r
}

// withFiles makes f order through a bus of files.
func (f *fleet) withFiles() *fileBus {
	f.t.Helper()
	check(f.t, os.MkdirAll(f.path("bus"), 0o755))
	b := newFileBus(f.path("bus"))
	f.put = func(d wire.Digest, data []byte) { check(f.t, b.write(d.String(), data)) }
	f.want = func(envelope []byte) { check(f.t, b.write("want", envelope)) }
	return b
}
