package controller_test

import (
	order "cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/membus"
	"github.com/ebbgate/ebbgate/wire/pack"
)

const (
	edge = wire.App("edge")
	waf  = wire.App("waf")
	ams  = wire.Region("ams")
	fra  = wire.Region("fra")
)

// token is what the stand-in of Fastly asks for.
const token = "0123456789abcdef0123456789abcdef"

// patience bounds every wait.
const patience = 30 * time.Second

// keys are the keys of a fleet and the root that lists them.
type keys struct {
	root, author, control wire.PrivateKey
	trust                 *wire.Trust
}

func newKeys(t testing.TB) keys {
	t.Helper()
	k := keys{root: newKey(t), author: newKey(t), control: newKey(t)}
	var err error
	k.trust, err = wire.NewTrust(k.sign(t, 1, k.author))
	must(t, err)
	return k
}

// sign returns a signed root that lists these release authors.
func (k keys) sign(t testing.TB, version uint64, authors ...wire.PrivateKey) []byte {
	t.Helper()
	role := func(keys ...wire.PrivateKey) wire.KeyRole {
		r := wire.KeyRole{Threshold: 1}
		for _, key := range keys {
			r.Keys = append(r.Keys, key.Public())
		}
		return r
	}
	r := wire.Root{Fleet: "test", Version: version, Expires: time.Now().Add(time.Hour), Roles: map[wire.Role]wire.KeyRole{
		wire.RoleRoot: role(k.root), wire.RoleAuthor: role(authors...), wire.RoleController: role(k.control),
	}}
	payload, err := r.Encode()
	must(t, err)
	envelope, err := wire.Seal(wire.TypeRoot, payload, k.root)
	must(t, err)
	return envelope
}

// authors replaces the release authors in the root that the next controller is started with.
func (f *fleet) authors(authors ...wire.PrivateKey) {
	f.t.Helper()
	next, err := f.trust.Update(f.sign(f.t, f.trust.Root().Version+1, authors...), time.Now())
	must(f.t, err)
	f.trust = next
}

func newKey(t testing.TB) wire.PrivateKey {
	t.Helper()
	k, err := wire.GenerateKey(rand.Reader)
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// eventually repeats check until it returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(3 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", patience, err)
		}
	}
}

// quick is a provider that needs no second purge after a gap of its own.
type quick struct{ cdn.Purger }

func (q quick) Capabilities() cdn.Capabilities {
	caps := q.Purger.Capabilities()
	caps.Kinds = maps.Clone(caps.Kinds)
	for kind, limits := range caps.Kinds {
		limits.Gap = 0
		caps.Kinds[kind] = limits
	}
	return caps
}

// newPurger returns the real client of Fastly before a stand-in.
func newPurger(t testing.TB, endpoint string) cdn.Purger {
	t.Helper()
	p, err := fastly.New(fastly.Config{Token: token, Endpoint: endpoint, Timeout: 5 * time.Second})
	must(t, err)
	return quick{p}
}

// scope is the service that caches a region; regionOf turns it round.
func scope(r wire.Region) string          { return "svc" + string(r) }
func regionOf(service string) wire.Region { return wire.Region(strings.TrimPrefix(service, "svc")) }

// spec says what a fleet is made of.
type spec struct {
	regions map[wire.Region][]wire.AgentID
	apps    map[wire.AgentID][]wire.App // default: edge
	beat    time.Duration               // of the agents; default 1 s
	config  func(*controller.Config)
	bus     membus.Config
}

// fleet is agents, a bus, a CDN and what a controller needs to drive them.
type fleet struct {
	keys
	t      *testing.T
	spec   spec
	bus    *membus.Bus
	line   *timeline
	agents map[wire.AgentID]*standIn
	cache  *cdntest.Cache
	fastly *cdntest.Fastly
	purger cdn.Purger
	dir    string

	mu      sync.Mutex // guards witness
	witness *witness   // of the controller that was started last
}

func newFleet(t *testing.T, s spec) *fleet {
	t.Helper()
	bus, err := membus.New(s.bus)
	must(t, err)
	t.Cleanup(bus.Close)
	f := &fleet{
		keys: newKeys(t), t: t, spec: s, bus: bus, line: &timeline{}, cache: cdntest.NewCache(),
		agents: make(map[wire.AgentID]*standIn), dir: t.TempDir(),
	}
	t.Cleanup(func() { f.line.dump(t) })
	f.fastly = cdntest.NewFastly(cdntest.FastlyConfig{Token: token, OnPurge: f.purged})
	server := httptest.NewServer(f.fastly)
	t.Cleanup(server.Close)
	f.purger = newPurger(t, server.URL)
	for _, r := range wire.Keys(s.regions) {
		for _, id := range s.regions[r] {
			apps := s.apps[id]
			if apps == nil {
				apps = []wire.App{edge}
			}
			f.agents[id] = newStandIn(t, f.keys, r, id, bus.Agent(id), f.line)
			f.agents[id].apps, f.agents[id].beat = apps, order.Or(s.beat, time.Second)
		}
	}
	return f
}

func newStandIn(t testing.TB, k keys, r wire.Region, id wire.AgentID, bus wire.AgentBus, line *timeline) *standIn {
	return &standIn{
		id: id, region: r, key: newKey(t), trust: k.trust, bus: bus, apps: []wire.App{edge}, line: line, beat: time.Second,
		wake: make(chan struct{}, 1), born: 1,
		running: make(map[wire.App]*wire.Running), next: make(map[wire.App]*wire.Progress),
	}
}

// start lets the agents run until the end of the test.
func (f *fleet) start(ids ...wire.AgentID) {
	for _, id := range ids {
		startAgent(f.t, f.agents[id])
	}
}

func startAgent(t *testing.T, a *standIn) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); a.bus.Close() })
}

// purged is what the caches do when the provider has carried out a purge.
func (f *fleet) purged(p cdntest.Purge) {
	f.cache.Apply(p)
	region := regionOf(p.Scope)
	var texts []string
	for _, s := range p.Selectors {
		texts = append(texts, s.String())
	}
	slices.Sort(texts)
	f.line.add(moment{what: "purge", region: region, detail: strings.Join(texts, " ")})
	f.mu.Lock()
	w := f.witness
	f.mu.Unlock()
	if w != nil && slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "edge") }) {
		w.purging(edge, region)
	}
}

// driver is a controller that runs.
type driver struct {
	*controller.Controller
	t       *testing.T
	witness *witness
	log     *servertest.Log
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // of Run; read it after ended is closed
}

// launch runs a controller on the fleet's bus, with its database in dir.
func (f *fleet) launch(name, dir string) *driver {
	f.t.Helper()
	w := &witness{ControllerBus: f.bus.Controller(name), trust: f.trust, line: f.line, journal: make(map[string]json.RawMessage)}
	log := &servertest.Log{}
	regions := make(map[wire.Region]controller.RegionConfig)
	for r := range f.spec.regions {
		regions[r] = controller.RegionConfig{CDN: []controller.CDNTarget{{Provider: "fastly", Scope: scope(r)}}}
	}
	cfg := controller.Config{
		Dir: dir, Bus: w, Trust: f.trust, Key: f.control, Regions: regions, Purgers: []cdn.Purger{f.purger},
		Enroll: func(wire.Region, wire.AgentID) (controller.Enrolment, error) {
			return controller.Enrolment{Creds: "creds"}, nil
		},
		Tick: 10 * time.Millisecond, OriginFetch: 20 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if f.spec.config != nil {
		f.spec.config(&cfg)
	}
	c, err := controller.New(cfg)
	must(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	d := &driver{Controller: c, t: f.t, witness: w, log: log, cancel: cancel, ended: make(chan struct{})}
	f.mu.Lock()
	f.witness = w
	f.mu.Unlock()
	go func() {
		defer close(d.ended)
		d.err = c.Run(ctx)
	}()
	f.t.Cleanup(func() {
		d.stop()
		if f.t.Failed() {
			f.t.Logf("log of %s:\n%s", name, log)
		}
		for _, complaint := range w.complaints() {
			f.t.Error(complaint)
		}
	})
	return d
}

// stop ends a controller as its owner would, and returns what Run did.
func (d *driver) stop() error {
	d.cancel()
	<-d.ended
	must(d.t, d.Close())
	d.witness.Close()
	return d.err
}

func (d *driver) leads() {
	d.t.Helper()
	eventually(d.t, func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("the controller ended: %v", d.err)
		default:
		}
		if !d.Leading() {
			return errors.New("does not lead")
		}
		return nil
	})
}

// drive launches the fleet's controller, enrolls all agents and starts them.
func (f *fleet) drive() *driver {
	f.t.Helper()
	d := f.launch("main", f.dir)
	d.leads()
	for _, id := range slices.Sorted(maps.Keys(f.agents)) {
		a := f.agents[id]
		_, err := d.Enroll(f.t.Context(), controller.EnrollRequest{Region: a.region, Agent: id, Key: a.key.Public()}, "op")
		must(f.t, err)
		f.start(id)
	}
	return d
}

// content is a bundle in memory: path → text, and its purge rules.
type content struct {
	app     wire.App
	version wire.Version
	limits  wire.Limits
	files   map[string]string
	purge   []wire.PurgeRule
}

// pack makes the blobs of a bundle, signed with the keys, and returns its index.
func (c content) pack(t testing.TB, put pack.Put, signers ...wire.PrivateKey) wire.Digest {
	t.Helper()
	m := &wire.Manifest{Format: 1, App: c.app, Version: c.version, Limits: c.limits, Purge: c.purge}
	texts := make(map[wire.Digest]string)
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		text := c.files[path]
		d := wire.DigestOf([]byte(text))
		texts[d] = text
		m.Files = append(m.Files, wire.File{Path: path, Mode: wire.ModeRegular, Size: int64(len(text)), SHA256: d})
	}
	payload, err := m.Encode()
	must(t, err)
	src := pack.Source{Payload: payload, Open: func(d wire.Digest) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(texts[d])), nil
	}}
	if len(signers) > 0 {
		src.Signatures, err = wire.Sign(wire.TypeManifest, payload, signers...)
		must(t, err)
	}
	_, index, err := pack.Write(t.Context(), src, put)
	must(t, err)
	return index
}

// publish uploads and publishes a bundle.
func (f *fleet) publish(d *driver, c content) controller.BundleInfo {
	f.t.Helper()
	info, err := d.Publish(f.t.Context(), c.pack(f.t, d.PutBlob, f.author), "op")
	must(f.t, err)
	return info
}

// site is a bundle of one app whose two files are purged apart.
func site(app wire.App, version wire.Version, a, b string) content {
	return content{app: app, version: version, files: map[string]string{"a.conf": a, "b.conf": b}, purge: []wire.PurgeRule{
		{Files: "a.conf", Selectors: []string{"key:{app}-a"}},
		{Files: "b.conf", Selectors: []string{"key:{app}-b"}},
	}}
}

// plan takes the waves one after the other without waiting for time to pass.
func plan(waves ...[]wire.Region) *rollout.Plan {
	p := &rollout.Plan{MaxUnavailable: rollout.Count(2), Deadline: wire.Duration(20 * time.Second), ApproveWithin: wire.Duration(time.Hour), OnFailure: rollout.RevertWave, OnPurgeFailure: rollout.HoldOnly}
	for _, regions := range waves {
		p.Waves = append(p.Waves, rollout.Wave{Regions: regions, Strategy: rollout.StrategyRolling})
	}
	return p
}

// roll starts a rollout and waits for its end.
func (f *fleet) roll(d *driver, info controller.BundleInfo, p *rollout.Plan, want rollout.RolloutStatus) rollout.Rollout {
	f.t.Helper()
	_, err := d.Start(f.t.Context(), controller.StartRequest{App: info.App, Version: info.Version, Plan: p}, "op")
	must(f.t, err)
	return f.ends(d, info, want)
}

// ends waits until the rollout to a bundle has the status.
func (f *fleet) ends(d *driver, info controller.BundleInfo, want rollout.RolloutStatus) (r rollout.Rollout) {
	f.t.Helper()
	eventually(f.t, func() error {
		v, err := d.App(f.t.Context(), info.App)
		must(f.t, err)
		r = *v.Rollout
		if r.Target.Digest != info.Digest || r.Status != want {
			return fmt.Errorf("rollout of %s to %s is %s, want %s of %s: %s", info.App, r.Target.Version, r.Status, want, info.Version, r.Halt)
		}
		return nil
	})
	return r
}

// holds checks what every region has committed of an app.
func (f *fleet) holds(d *driver, app wire.App, want map[wire.Region]controller.Held) {
	f.t.Helper()
	views, err := d.Regions(f.t.Context())
	must(f.t, err)
	got := make(map[wire.Region]controller.Held)
	for _, v := range views {
		if h, ok := v.Apps[app]; ok {
			h.Digest = wire.Digest{}
			got[v.Region] = h
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("what the regions run of %s (-want +got):\n%s", app, diff)
	}
}

// auditHolds checks the chain of the whole audit log and returns it.
func (f *fleet) auditHolds(d *driver) (all []controller.AuditEntry) {
	f.t.Helper()
	for {
		var after uint64
		var prev wire.Digest
		if n := len(all); n > 0 {
			after, prev = all[n-1].ID, all[n-1].Hash
		}
		more, err := d.Audit(f.t.Context(), after)
		must(f.t, err)
		if len(more) == 0 {
			return all
		}
		must(f.t, controller.VerifyAudit(prev, more))
		all = append(all, more...)
	}
}
