package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	lookTime    = 5 * time.Second        // one confirmation of a release that should be live
	returnTime  = 10 * time.Second       // the confirmation after a return or a repair
	retryLook   = 200 * time.Millisecond // after a look that failed
	tolerated   = 3                      // looks that fail in a row make a release sick
	healthyStep = time.Second            // between two looks in the healthy time
)

// arm brings a release that is staged one switch away from serving.
func (w *app) arm(ctx context.Context, t wire.Target) error {
	r, err := w.release(plan.Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version})
	if err == nil {
		err = w.preload(ctx, r)
	}
	if err != nil {
		err = fmt.Errorf("cannot arm %s %s: %w", w.name, t.Version, err)
		if ctx.Err() == nil {
			w.failed[t.Digest] = plan.Failure{Why: err.Error(), Permanent: !passing(err)}
		}
		return err
	}
	delete(w.failed, t.Digest)
	return nil
}

// preload lets the data plane validate a release, another time if it did before: what is
// armed may have been staged long ago. A data plane that has nothing to preload is armed
// then.
func (w *app) preload(ctx context.Context, r dataplane.Release) error {
	w.armed = wire.Target{}
	if err := w.plane.Validate(ctx, r); err != nil {
		return err
	}
	if err := w.plane.Arm(ctx, r); err != nil {
		return err
	}
	w.armed = wire.Target{Epoch: r.Epoch, Digest: r.Digest}
	return nil
}

// activate switches to a staged release and confirms it. The order of what happens, and
// what is on disk before each of it, is the promise that a crash anywhere leaves either
// the old release or the new one.
func (w *app) activate(ctx context.Context, t wire.Target) error {
	order, _ := w.a.orders.order(w.name)
	to := plan.Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, Healthy: w.state.Healthy(t, order)}
	if err := w.whole(t.Digest); err != nil {
		return err
	}
	rel, err := w.release(to)
	if err != nil {
		return err
	}
	to.Floor = w.bundles[t.Digest].floor
	fresh := w.state.Switch == nil // else there is something to finish or to take back
	// What is preloaded is ready. What only can be validated is validated again: the node
	// around it may have changed.
	if !w.isArmed(t) || !w.plane.Traits().Arms {
		err := w.preload(ctx, rel)
		if err != nil && fresh && (passing(err) || errors.Is(err, release.ErrFull)) {
			return w.later(t, err)
		}
		if err != nil {
			return w.fail(ctx, t, err)
		}
	}
	if err := w.change("switching", func(s *plan.State) { s.Begin(to, time.Now()) }); err != nil {
		return err
	}
	w.showNow()
	w.armed = wire.Target{} // the switch uses it up
	if err := w.put(ctx, rel, w.state.Switch.Stamp); err != nil {
		if fresh && errors.Is(err, wire.ErrDisconnected) {
			return w.withdraw(ctx, t, err)
		}
		return w.fail(ctx, t, err)
	}
	if err := w.change("verifying", func(s *plan.State) { s.Switched(time.Now()) }); err != nil {
		return err
	}
	w.showNow()
	if err := w.confirm(ctx, rel, w.state.Switch.Live.Add(to.Healthy.Std())); err != nil {
		return w.fail(ctx, t, err)
	}
	if err := w.change("active", func(s *plan.State) { s.Confirm(time.Now()) }); err != nil {
		return err
	}
	delete(w.failed, t.Digest)
	w.settle()
	return w.tidy()
}

// put makes the node serve a release: stamps, `current`, data plane.
func (w *app) put(ctx context.Context, rel dataplane.Release, stamp time.Time) error {
	if err := w.rel.Stamp(rel.Digest, stamp); err != nil {
		return err
	}
	w.a.cfg.trace("stamped")
	if err := w.rel.Switch(rel.Digest); err != nil {
		return err
	}
	w.a.cfg.trace("symlink switched")
	if err := w.plane.Activate(ctx, rel); err != nil {
		return err
	}
	w.a.cfg.trace("data plane switched")
	return nil
}

// later puts off an activation that has changed nothing. How long it may be put off is for
// the order to say: the controller does not wait for ever.
func (w *app) later(t wire.Target, err error) error {
	err = fmt.Errorf("cannot activate %s %s: %w", w.name, t.Version, err)
	w.failed[t.Digest] = plan.Failure{Why: err.Error(), Permanent: !passing(err)}
	return err
}

// withdraw puts off an activation of which the data plane says that it has changed
// nothing. The link first: a crash in between begins the change a second time.
func (w *app) withdraw(ctx context.Context, t wire.Target, err error) error {
	var back wire.Digest
	if r := w.state.Running; r != nil {
		back = r.Digest
	}
	if err := w.rel.Switch(back); err != nil {
		return w.fail(ctx, t, err)
	}
	if err := w.change("withdrawn", (*plan.State).Withdraw); err != nil {
		return err
	}
	return w.later(t, err)
}

// fail ends an activation. What could not be switched to is marked bad; what was
// switched to is marked bad and on its way back when fail returns.
func (w *app) fail(ctx context.Context, t wire.Target, err error) error {
	if ctx.Err() != nil || errors.Is(err, errSuperseded) || errors.Is(err, release.ErrSync) {
		return err
	}
	err = fmt.Errorf("cannot activate %s %s: %w", w.name, t.Version, err)
	w.log.Error("activation failed", "version", t.Version, "epoch", t.Epoch, "err", err)
	sw := w.state.Switch
	if sw == nil || sw.To.Digest != t.Digest || sw.To.Epoch != t.Epoch {
		return w.change("failed", func(s *plan.State) { s.Spoil(t, err.Error()) })
	}
	step := plan.Step{Kind: plan.Revert, Reason: err.Error()}
	if to := w.wayBack(); to != nil {
		step.Target = wire.Target{Epoch: to.Epoch, Digest: to.Digest, Version: to.Version}
	}
	return w.change("reverting", func(s *plan.State) { s.TurnBack(step, time.Now()) })
}

// wayBack returns where to go back to: a release that is whole, read back from the disk
// now. It is nil when there is none.
func (w *app) wayBack() *plan.Release {
	to := w.state.Undo(w.staged)
	for to != nil && w.whole(to.Digest) != nil {
		to = w.state.Undo(w.staged)
	}
	return to
}

// confirm reads the release back from the data plane, again and again until the time is
// up and the last look was good. A look that fails is repeated at once; three in a row
// end it.
func (w *app) confirm(ctx context.Context, rel dataplane.Release, until time.Time) error {
	_, sequence := w.a.orders.order(w.name)
	target := wire.Target{Epoch: rel.Epoch, Digest: rel.Digest}
	for fails := 0; ; {
		proof, err := w.examine(ctx, rel, lookTime)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && !time.Now().Before(until):
			w.proof, w.proven = proof, true
			return nil
		case err == nil:
			fails, w.proof = 0, proof
		default:
			if fails++; fails == tolerated {
				return err
			}
		}
		pause := retryLook
		if fails == 0 {
			pause = min(healthyStep, time.Until(until))
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		if w.urgent(target, sequence) {
			return errSuperseded
		}
	}
}

// examine looks once whether a release is live and answers its probes.
func (w *app) examine(ctx context.Context, rel dataplane.Release, limit time.Duration) (proof string, err error) {
	if proof, err = w.read(ctx, rel, limit); err != nil {
		return "", err
	}
	return proof, w.plane.Check(ctx, rel)
}

// read reads a release back, within limit or what the data plane takes for it.
func (w *app) read(ctx context.Context, rel dataplane.Release, limit time.Duration) (proof string, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(limit, w.plane.Traits().Look))
	defer cancel()
	return w.plane.Confirm(ctx, rel)
}

// look examines the running release when it is time to.
func (w *app) look(ctx context.Context) error {
	st := &w.state
	if st.Running == nil || st.Switch != nil || st.Back != nil || w.drift != "" || time.Since(w.looked) < w.a.cfg.Probe.Std() {
		return nil
	}
	rel, err := w.release(*st.Running)
	if err != nil {
		return nil // damaged: the plan deals with it
	}
	w.looked = time.Now()
	proof, err := w.read(ctx, rel, lookTime)
	if err != nil && ctx.Err() == nil {
		w.drift = "does not show the running release: " + err.Error()
	}
	if err == nil {
		w.proof, w.proven = proof, true
		err = w.plane.Check(ctx, rel)
	}
	if ctx.Err() == nil {
		w.count(err)
	}
	return nil
}

// count keeps how the running release is. One bad look is no sickness.
func (w *app) count(err error) {
	if err == nil {
		w.fails, w.sick = 0, ""
		return
	}
	if w.fails++; w.fails >= tolerated {
		w.sick = err.Error()
	}
}

// settle forgets what was known of the release before.
func (w *app) settle() {
	w.armed, w.drift, w.sick, w.fails, w.looked = wire.Target{}, "", "", 0, time.Now()
}

// repair makes the data plane serve what the journal says it serves.
func (w *app) repair(ctx context.Context) error {
	rel, err := w.release(*w.state.Running)
	if err == nil {
		err = w.put(ctx, rel, w.state.Stamp)
	}
	if err == nil {
		w.proof, err = w.examine(ctx, rel, returnTime)
	}
	if ctx.Err() == nil {
		w.count(err)
	}
	if err != nil {
		return fmt.Errorf("cannot repair %s %s: %w", w.name, rel.Version, err)
	}
	w.proven = true
	w.settle()
	return nil
}

// revert makes the node serve an older release again.
func (w *app) revert(ctx context.Context, step plan.Step) error {
	if w.state.Back == nil || w.state.Crashes >= plan.CrashLimit { // perhaps not to where it was going
		if err := w.passable(step.Target.Digest); err != nil {
			return err
		}
		if err := w.change("reverting", func(s *plan.State) { s.TurnBack(step, time.Now()) }); err != nil {
			return err
		}
	}
	w.showNow()
	back, shown := *w.state.Back, true
	if back.To == nil {
		if err := w.rel.Switch(wire.Digest{}); err != nil {
			return err
		}
		if r, ok := w.plane.(dataplane.Restorer); ok {
			if err := r.Restore(ctx); err != nil {
				return fmt.Errorf("cannot put back what was there before the first release of %s: %w", w.name, err)
			}
		}
	} else {
		rel, err := w.release(*back.To)
		if err != nil {
			return err
		}
		if err := w.put(ctx, rel, back.Stamp); err != nil {
			return fmt.Errorf("cannot go back to %s %s: %w", w.name, rel.Version, err)
		}
		if w.proof, err = w.examine(ctx, rel, returnTime); err != nil && ctx.Err() == nil {
			// There is nothing better to go to: it is served, and looked after as drift.
			shown = false
			w.log.Error("the release gone back to does not show", "version", rel.Version, "err", err)
		} else if err == nil {
			w.proven = true
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.change("returned", func(s *plan.State) { s.Returned(time.Now(), shown) }); err != nil {
		return err
	}
	w.settle()
	return w.tidy()
}

// passable reads back where a return leads that is about to be decided. It returns an error
// if that is damaged and the plan can do better: go elsewhere, or stay.
func (w *app) passable(d wire.Digest) error {
	if b := w.state.Back; d.IsZero() || b != nil && b.To != nil && b.To.Digest == d {
		return nil
	}
	err := w.whole(d)
	if w.state.Switch != nil && w.state.Undo(w.staged) == nil {
		return nil // there is no better one, and no staying in the middle
	}
	return err
}

// rollback goes back to the last known good or previous release because somebody on the
// node asked for it, and answers them. It returns only fatal errors.
func (w *app) rollback(ctx context.Context, answer chan error) error {
	to := w.wayBack()
	if to == nil {
		answer <- fmt.Errorf("cannot roll back %s: there is no older release on this node", w.name)
		return nil
	}
	order, _ := w.a.orders.order(w.name)
	err := w.change("rolling back", func(s *plan.State) { s.Rollback(to, order, time.Now()) })
	if err == nil {
		err = w.revert(ctx, plan.Step{})
	}
	answer <- err
	if errors.Is(err, release.ErrSync) {
		return err
	}
	return nil
}
