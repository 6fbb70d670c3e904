package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Controller drives one fleet. Its methods may be called from any goroutine; those that
// change something return once the change is on disk.
type Controller struct {
	cfg       Config
	log       *slog.Logger
	db        *bolt.DB
	journal   *journal
	outbox    *cdn.Outbox
	registry  *registry
	feed      *feed
	manifests manifestCache
	id        string // what this controller's leases begin with
	closeOnce sync.Once

	leading    atomic.Bool               // requests are answered
	leader     atomic.Pointer[string]    // by name, while this controller stands by; empty: unknown
	confirmed  atomic.Pointer[time.Time] // when the bus was last asked and said that the lease is ours
	back       atomic.Pointer[time.Time] // since when it says so again after it had not for too long, or first
	published  atomic.Pointer[time.Time] // the bus has all that was decided before
	holding    sync.Mutex                // one look at the lease at a time
	met        context.Context           // the pump's: the connection over which the bus was compared with the journal
	publishing sync.RWMutex              // held for reading from when a bundle's manifest is kept until it is registered, for writing while manifests are dropped
	requests   chan request              // executed by the loop, one at a time
	ended      chan struct{}             // closed when the loop has
	work       chan struct{}             // capacity 1: the pump has something to do
	queue      effectQueue               // effects journaled, not yet carried out

	runs      sync.Mutex // one purge by hand at a time is counted and stored
	following sync.Map   // effect id → true: purges whose end is awaited, gates that are being read
	followers sync.WaitGroup
	stuck     sync.Map // app → why its orders cannot be given
	readings  readings

	// Owned by the loop.
	states  map[wire.App]rollout.State
	bundles map[wire.Digest]BundleInfo
	wants   map[wire.Region]want
}

// request is a function for the loop; done is closed after it has run.
type request struct {
	run  func()
	done chan struct{}
}

// New opens the controller's database. It does not touch the bus.
func New(cfg Config) (*Controller, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	db, err := openDB(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c := &Controller{
		cfg: cfg, log: cfg.Log, db: db,
		journal:  newJournal(db, cfg.Log),
		registry: newRegistry(),
		feed:     newFeed(),
		requests: make(chan request),
		ended:    make(chan struct{}),
		work:     make(chan struct{}, 1),
		states:   make(map[wire.App]rollout.State),
		bundles:  make(map[wire.Digest]BundleInfo),
		wants:    make(map[wire.Region]want),
	}
	if c.outbox, err = c.newOutbox(); err == nil {
		c.id, err = c.journal.self(rand.Text)
		c.journal.by = c.id
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return c, nil
}

// Close releases the database. Run must have returned. It is idempotent.
func (c *Controller) Close() (err error) {
	c.closeOnce.Do(func() {
		c.feed.close()
		err = c.db.Close()
	})
	return err
}

// Leading reports whether this controller drives the fleet now.
func (c *Controller) Leading() bool { return c.leading.Load() }

// Run waits for the lease and then drives the fleet until ctx ends, which returns nil,
// or another controller takes over, which returns [ErrDeposed]. It may be called once.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.cfg.Bus.Setup(ctx, c.cfg.Replicas); err != nil {
		return fmt.Errorf("cannot set up the streams: %w", err)
	}
	fence, err := c.lead(ctx, func(holder string) {
		name := known(holder)
		if last := c.leader.Swap(&name); last == nil || *last != name {
			c.log.Info("standing by", "leader", name)
		}
	})
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	c.leader.Store(nil)
	c.cfg.trace("lease taken")
	if err := c.journal.reconcile(ctx, c.cfg.Bus, fence); err != nil {
		return ignoreEnd(ctx, err)
	}
	c.cfg.trace("reconciled")
	if err := c.load(); err != nil {
		return err
	}
	c.cfg.trace("loaded")
	c.log.Info("leading", "fence", fence, "apps", len(c.states), "bundles", len(c.bundles))

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.loop(ctx) })
	g.Go(func() error { return c.pump(ctx) })
	g.Go(func() error { return c.outbox.Run(ctx) })
	g.Go(func() error { return c.beacons(ctx) })
	g.Go(func() error { return c.beat(ctx) })
	g.Go(func() error { return c.watchBus(ctx) })
	g.Go(func() error {
		return c.cfg.Bus.Reports(ctx, func(r wire.Region, a wire.AgentID, env []byte, at time.Time) { c.heard(ctx, r, a, env, at) })
	})
	err = g.Wait()
	c.leading.Store(false)
	c.followers.Wait()
	return ignoreEnd(ctx, err)
}

// ignoreEnd turns the errors of an ended context into a clean end.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// loop executes requests and lets time pass. Everything that it owns is changed here only.
func (c *Controller) loop(ctx context.Context) error {
	defer close(c.ended)
	if err := c.resume(ctx); err != nil {
		return err
	}
	c.leading.Store(true)
	tick := time.NewTicker(c.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-c.requests:
			r.run()
			close(r.done)
		case <-tick.C:
			now := time.Now().UTC()
			if err := c.stepAll(func(wire.App) rollout.Event { return rollout.Tick{Now: now} }); err != nil {
				return err
			}
		}
	}
}

// do runs an operator's request in the loop and returns what it returned.
func do[T any](ctx context.Context, c *Controller, f func() (T, error)) (v T, err error) {
	if err := c.leads(); err != nil {
		return v, err
	}
	return inLoop(ctx, c, f)
}

// leads sends an operator away while this controller does not lead: what it holds may be
// old, or nothing at all.
func (c *Controller) leads() error {
	if !c.leading.Load() {
		return c.standby()
	}
	return nil
}

// standby says that this controller does not lead, and who does, if that is known.
func (c *Controller) standby() error {
	if leader := c.leader.Load(); leader != nil && *leader != "" {
		return fmt.Errorf("%w: this controller stands by, %s leads", ErrStandby, *leader)
	}
	return ErrStandby
}

// decide runs an operator's request that changes something in the loop, if this controller
// can be sure that it leads.
func decide[T any](ctx context.Context, c *Controller, f func() (T, error)) (T, error) {
	return do(ctx, c, func() (v T, err error) {
		if err := c.Sure(); err != nil {
			return v, err
		}
		return f()
	})
}

// inLoop runs f in the loop and returns what it returned. Unlike an operator, who is sent
// away while nobody leads, it waits until the loop has begun: a report that is read too
// early would otherwise be lost until the agent's next one.
func inLoop[T any](ctx context.Context, c *Controller, f func() (T, error)) (v T, err error) {
	r := request{run: func() { v, err = f() }, done: make(chan struct{})}
	select {
	case c.requests <- r:
		<-r.done // the loop runs what it took
		return v, err
	case <-c.ended:
		return v, ErrStandby
	case <-ctx.Done():
		return v, fmt.Errorf("the controller did not answer: %w", ctx.Err())
	}
}
