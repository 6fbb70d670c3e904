package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

// errSuperseded says that something more urgent came up; what was being done is neither
// done nor wrong.
var errSuperseded = errors.New("superseded by a newer order")

// app is the one worker of an app. Everything above mu belongs to its goroutine.
type app struct {
	a     *Agent
	name  wire.App
	rel   *release.Store
	plane dataplane.Driver
	log   *slog.Logger

	state   plan.State
	staged  map[wire.Digest]bool
	armed   wire.Target                  // what this process has let the data plane preload: epoch and digest
	drift   string                       // how the data plane differs from the state
	sick    string                       // why the running release is not healthy
	fails   int                          // looks at the running release that failed in a row
	looked  time.Time                    // when it was last looked at
	delays  map[string]*delay            // step → when it may be tried again
	failed  map[wire.Digest]plan.Failure // why a bundle could not be staged, armed or switched to
	bundles map[wire.Digest]*bundle      // parts of manifests
	proven  bool                         // a release was read back since the agent started
	proof   string                       // evidence of the last confirmation

	known chan struct{}   // closed when the state has been read: there is something to report
	wake  chan struct{}   // an order arrived
	undo  chan chan error // somebody on the node asks to roll back

	mu   sync.Mutex // guards view and says
	view wire.AppReport
	says []string // the plan, for people
}

// delay spaces out the attempts at a step that fails.
type delay struct {
	wait  time.Duration
	until time.Time
}

func newApp(a *Agent, name wire.App, rel *release.Store, plane dataplane.Driver) *app {
	return &app{
		a: a, name: name, rel: rel, plane: plane, log: a.cfg.Logger.With("app", name),
		staged: make(map[wire.Digest]bool), delays: make(map[string]*delay),
		failed: make(map[wire.Digest]plan.Failure), bundles: make(map[wire.Digest]*bundle),
		known: make(chan struct{}), wake: make(chan struct{}, 1), undo: make(chan chan error, 1),
	}
}

// run works until ctx ends; it returns an error only when the disk is not to be trusted.
func (w *app) run(ctx context.Context) error {
	if err := w.recover(); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	for tidied := false; ctx.Err() == nil; {
		next, err := w.work(ctx)
		if err == nil && !tidied {
			tidied, err = true, w.tidy()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-w.wake:
		case answer := <-w.undo:
			if err := w.rollback(ctx, answer); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// work does what the plan says until there is nothing left to do, and returns when to
// look again.
func (w *app) work(ctx context.Context) (next time.Time, err error) {
	for ctx.Err() == nil {
		select {
		case answer := <-w.undo:
			if err := w.rollback(ctx, answer); err != nil {
				return next, err
			}
		default:
		}
		if err := w.look(ctx); err != nil {
			return next, err
		}
		now := time.Now()
		order, _ := w.a.orders.order(w.name)
		steps := plan.Steps(order, w.local(order), now)
		w.show(order, steps)
		step, until := w.choose(steps, now)
		if step == nil {
			return until, nil
		}
		w.log.Info("step", "kind", step.Kind, "version", step.Target.Version, "epoch", step.Target.Epoch, "why", step.Reason)
		err := w.do(ctx, *step)
		w.a.cfg.trace("step " + string(step.Kind) + " done")
		switch {
		case errors.Is(err, release.ErrSync):
			return next, err
		case err == nil:
			delete(w.delays, key(*step))
		case errors.Is(err, errSuperseded), ctx.Err() != nil:
		default:
			w.log.Warn("step failed", "kind", step.Kind, "version", step.Target.Version, "err", err)
			w.postpone(*step)
		}
	}
	return next, nil
}

// choose returns the first step that does something and is not postponed, or when there
// may be one.
func (w *app) choose(steps []plan.Step, now time.Time) (*plan.Step, time.Time) {
	until := now.Add(w.a.cfg.Probe.Std())
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(until) {
			until = t
		}
	}
	blocked := make(map[wire.Digest]bool) // what waits for a postponed step on the same bundle
	for i, s := range steps {
		switch d := w.delays[key(s)]; {
		case s.Kind == plan.Wait || s.Kind == plan.Refuse:
			sooner(s.Until)
		case blocked[s.Target.Digest]:
		case d != nil && now.Before(d.until):
			blocked[s.Target.Digest] = true
			sooner(d.until)
		default:
			return &steps[i], now
		}
	}
	return nil, until
}

// key tells steps apart that are postponed separately.
func key(s plan.Step) string {
	return string(s.Kind) + " " + s.Target.Digest.String() + " " + s.Target.Epoch.String()
}

func (w *app) postpone(s plan.Step) {
	d := w.delays[key(s)]
	if d == nil {
		if len(w.delays) > 64 {
			clear(w.delays) // of orders long gone
		}
		d = &delay{}
		w.delays[key(s)] = d
	}
	d.wait = min(max(2*d.wait, retryLeast), retryMost)
	d.until = time.Now().Add(d.wait)
}

func (w *app) do(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.Stage:
		return w.stage(ctx, s.Target)
	case plan.Arm:
		return w.arm(ctx, s.Target)
	case plan.Activate:
		return w.activate(ctx, s.Target)
	case plan.Repair:
		return w.repair(ctx)
	case plan.Commit:
		return w.commit()
	case plan.Revert:
		return w.revert(ctx, s)
	default:
		panic("agent: no way to do " + string(s.Kind))
	}
}

func (w *app) local(o wire.Order) plan.Local {
	l := plan.Local{State: w.state, Agent: w.a.cfg.ID, Staged: w.staged, Drift: w.drift, Sick: w.sick}
	if o.Next != nil && w.isArmed(o.Next.Target) {
		l.Armed = o.Next.Digest
	}
	return l
}

// isArmed reports whether t was preloaded at its epoch: the epoch is in what a data plane
// answers.
func (w *app) isArmed(t wire.Target) bool {
	return w.armed.Epoch == t.Epoch && w.armed.Digest == t.Digest
}

// change writes the changed state down, and takes it on only then: what follows in the
// caller may rely on it being on disk.
func (w *app) change(point string, f func(*plan.State)) error {
	next := w.state.Clone()
	f(&next)
	w.a.cfg.trace("before journal " + point)
	if err := w.a.store.SetApp(w.name, next); err != nil {
		return err
	}
	w.state = next
	w.a.cfg.trace("after journal " + point)
	return nil
}

func (w *app) commit() error {
	if err := w.change("committed", (*plan.State).Commit); err != nil {
		return err
	}
	return w.tidy()
}

// tidy removes from the node what neither the state nor the order needs.
func (w *app) tidy(also ...wire.Digest) error {
	keep := make(map[wire.Digest]bool)
	for _, d := range append(w.state.Keep(), also...) {
		keep[d] = true
	}
	order, _ := w.a.orders.order(w.name)
	if order.Base != nil {
		keep[order.Base.Digest] = true
	}
	if order.Next != nil {
		keep[order.Next.Digest] = true
	}
	if cur, err := w.rel.Current(); err == nil {
		keep[cur] = true
	}
	for d := range w.bundles {
		if !keep[d] {
			delete(w.bundles, d)
		}
	}
	for d := range w.failed {
		if !keep[d] {
			delete(w.failed, d)
		}
	}
	for d := range w.staged {
		if !keep[d] {
			delete(w.staged, d)
		}
	}
	if err := w.a.retain(w, keep); err != nil {
		if errors.Is(err, release.ErrSync) {
			return err
		}
		w.log.Warn("cannot remove what is no longer needed", "err", err)
	}
	return nil
}

// urgent reports whether something came up that a step in progress should make way for:
// a rollback asked for on the node, or an order whose plan begins with another step that
// changes the node.
func (w *app) urgent(doing wire.Target, sequence uint64) bool {
	if len(w.undo) > 0 {
		return true
	}
	order, now := w.a.orders.order(w.name)
	if now == sequence {
		return false
	}
	l := w.local(order)
	if l.Switch != nil {
		sw := *l.Switch
		sw.Attempt = 0 // the one in progress has not failed
		l.Switch = &sw
	}
	for _, s := range plan.Steps(order, l, time.Now()) {
		switch s.Kind {
		case plan.Wait, plan.Refuse, plan.Commit, plan.Arm:
		default:
			return s.Target.Digest != doing.Digest || s.Target.Epoch != doing.Epoch
		}
	}
	return w.state.Switch == nil // nothing wants what is being staged any more
}
