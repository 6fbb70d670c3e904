package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/gossip"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/agent/stage"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// blobs is where chunks, pack indexes and manifests come from. What it returns has not
// been verified. The bus is one; a region's peers are another.
type blobs interface {
	Blob(ctx context.Context, d wire.Digest) ([]byte, error)
}

// Agent is one node. Make it with [New], run it once, close it.
type Agent struct {
	cfg   Config
	trust *wire.Trust
	key   wire.PrivateKey

	store *stage.Store
	apps  []*app
	bus   wire.AgentBus // nil until Run connected
	blobs blobs
	peers atomic.Pointer[gossip.Peers] // nil without gossip, and until Run joined

	incarnation uint64
	clean       bool // the run before this one ended in order

	orders  *orders
	reports *reporter

	gc   sync.Mutex                        // guards kept, and makes removals wait for each other
	kept map[wire.App]map[wire.Digest]bool // app → bundles that must stay

	fatal  error // why the disk cannot be trusted any more; set before Close
	closed sync.Once
}

// New opens the node's disk and its data planes. It needs no network, and changes
// nothing that serves. The caller must Close what it returns.
func New(cfg Config) (*Agent, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, kept: make(map[wire.App]map[wire.Digest]bool)}
	if err := a.open(); err != nil {
		a.fatal = err
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Agent) open() (err error) {
	if a.trust, err = a.cfg.readTrust(); err != nil {
		return err
	}
	if a.key, err = a.cfg.readKey(); err != nil {
		return err
	}
	if a.cfg.State, err = filepath.Abs(a.cfg.State); err != nil {
		return err
	}
	if a.store, err = stage.Open(filepath.Join(a.cfg.State, "state.db")); err != nil {
		return err
	}
	a.orders = newOrders(a)
	a.reports = newReporter(a)
	for _, name := range wire.Keys(a.cfg.Apps) {
		w, err := a.openApp(name, a.cfg.Apps[name])
		if err != nil {
			return err
		}
		a.apps = append(a.apps, w)
	}
	if err := a.orders.load(); err != nil {
		return err
	}
	// Last: a start that fails is no run that crashed.
	a.incarnation, a.clean, err = a.store.Begin()
	return err
}

func (a *Agent) openApp(name wire.App, plane dataplane.Config) (*app, error) {
	dir := filepath.Join(a.cfg.State, "apps", string(name))
	rel, err := release.Open(dir)
	if err != nil {
		return nil, err
	}
	plane.App, plane.Region, plane.Logger = name, a.cfg.Region, a.cfg.Logger
	plane.Dir, plane.Current = filepath.Join(dir, "plane"), rel.CurrentLink()
	driver, err := dataplane.New(plane)
	if err != nil {
		return nil, errors.Join(err, rel.Close())
	}
	return newApp(a, name, rel, driver), nil
}

// Run works until ctx ends, and returns nil then. It returns an error only for what
// makes going on wrong: [release.ErrSync], or a configuration of the bus that can never
// work. The caller exits then, and the next start recovers.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	err := a.start(ctx, g)
	if err != nil {
		g.Go(func() error { return err })
	}
	err = g.Wait()
	if errors.Is(err, release.ErrSync) {
		a.fatal = err
	}
	return err
}

// start sets the node's parts going: first those that serve, then those that need others.
func (a *Agent) start(ctx context.Context, g *errgroup.Group) error {
	bus := &lateBus{ready: make(chan struct{})}
	a.blobs = bus
	for _, w := range a.apps {
		g.Go(func() error { return w.run(ctx) })
	}
	control, err := a.listen()
	if err != nil {
		return err
	}
	g.Go(func() error { return control(ctx) })

	// A region that was without power starts as one. What is on the disk serves by now; the
	// controller hears of it spread over a heartbeat, as at any other time.
	wait := rand.N(a.cfg.Heartbeat.Std())
	a.cfg.Logger.Info("serving what is on the disk, connecting soon", "in", wait)
	if a.bus = a.cfg.Bus; !sleep(ctx, wait) {
		return nil
	}
	if a.bus == nil {
		a.bus, err = natsbus.ConnectAgent(ctx, natsbus.AgentConfig{
			Servers: a.cfg.NATS.Servers, CredsFile: a.cfg.NATS.Creds, RootCA: a.cfg.NATS.CA,
			Name: string(a.cfg.ID), Logger: a.cfg.Logger, ReconnectWait: a.cfg.NATS.Reconnect.Std(),
		})
		if err != nil {
			return err
		}
	}
	bus.set(a.bus)
	if a.cfg.Gossip != nil {
		if err := a.join(*a.cfg.Gossip); err != nil {
			return err
		}
	}
	stopNotes, err := a.bus.Notes(a.cfg.Region, a.orders.note)
	if err != nil {
		return err
	}
	stopBeacons, err := a.bus.Beacons(a.orders.beacon)
	if err != nil {
		stopNotes()
		return err
	}
	g.Go(func() error {
		defer stopNotes()
		defer stopBeacons()
		return a.orders.run(ctx)
	})
	g.Go(func() error { return a.reports.run(ctx) })
	return nil
}

func (a *Agent) join(cfg Gossip) error {
	key, err := readGossipKey(cfg.Key)
	if err != nil {
		return err
	}
	var old [][]byte
	for _, path := range cfg.OldKeys {
		k, err := readGossipKey(path)
		if err != nil {
			return err
		}
		old = append(old, k)
	}
	peers, err := gossip.New(gossip.Config{
		Name: a.cfg.ID, Region: a.cfg.Region, Bind: cfg.Bind, Advertise: cfg.Advertise,
		Key: key, OldKeys: old, Seeds: cfg.Seeds, Allow: cfg.Allow,
		OnDesired: a.orders.gossip, Logger: a.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("cannot join the region's gossip: %w", err)
	}
	a.peers.Store(peers)
	a.orders.rebroadcast()
	return nil
}

// members returns who is believed alive, nil without gossip.
func (a *Agent) members() []wire.AgentID {
	p := a.peers.Load()
	if p == nil {
		return nil
	}
	return p.Members()
}

// Close lets go of everything. What serves goes on serving where it can outlive the
// agent. It is idempotent; Run must have returned.
func (a *Agent) Close() error {
	var errs []error
	a.closed.Do(func() {
		if p := a.peers.Load(); p != nil {
			errs = append(errs, p.Close())
		}
		if a.bus != nil {
			a.bus.Close()
		}
		for _, w := range a.apps {
			errs = append(errs, w.plane.Close(), w.rel.Close())
		}
		if a.store != nil {
			if a.fatal == nil {
				errs = append(errs, a.store.End())
			}
			errs = append(errs, a.store.Close())
		}
	})
	return errors.Join(errs...)
}

// retain removes from the node what no app needs. keep is what app needs.
func (a *Agent) retain(w *app, keep map[wire.Digest]bool) error {
	a.gc.Lock()
	defer a.gc.Unlock()
	a.kept[w.name] = keep
	if len(a.kept) < len(a.apps) {
		return nil // an app has not said yet what it needs
	}
	a.cfg.trace("gc")
	all := make(map[wire.Digest]bool)
	for _, k := range a.kept {
		for d := range k {
			all[d] = true
		}
	}
	on, err := w.rel.List()
	if err != nil {
		return err
	}
	for _, d := range on {
		if keep[d] {
			continue
		}
		if err := w.rel.Remove(d); err != nil {
			return err
		}
	}
	a.cfg.trace("gc between disk and database")
	return a.store.Retain(all)
}

// lateBus is a source of blobs that is there before the bus is.
type lateBus struct {
	ready chan struct{} // closed once bus is set
	bus   wire.AgentBus
}

func (b *lateBus) set(bus wire.AgentBus) {
	b.bus = bus
	close(b.ready)
}

func (b *lateBus) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	select {
	case <-b.ready:
		return b.bus.Blob(ctx, d)
	default:
		return nil, wire.ErrDisconnected
	}
}
