package agent

import (
	"slices"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// report returns what the node says of the app.
func (w *app) report() wire.AppReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// plan returns what the worker is up to, one line for each step.
func (w *app) plan() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.says)
}

// show publishes the state of the app, and asks for a report if it changed.
func (w *app) show(order wire.Order, steps []plan.Step) {
	v := wire.AppReport{Plane: w.plane.Traits().String(), Running: w.running(), Next: w.progress(order, steps)}
	if lkg := w.state.LKG(); lkg != nil {
		v.LKG = lkg.Digest
	}
	for _, m := range w.state.Bad {
		v.Bad = append(v.Bad, m.Digest)
	}
	says := make([]string, len(steps))
	for i, s := range steps {
		says[i] = string(s.Kind)
		if s.Target.Version != "" {
			says[i] += " " + string(s.Target.Version)
		}
		says[i] += ": " + s.Reason
	}
	w.mu.Lock()
	changed := !same(w.view, v)
	w.view, w.says = v, says
	w.mu.Unlock()
	if changed {
		w.a.reports.changed()
	}
}

// showNow publishes the state in the middle of a step.
func (w *app) showNow() {
	order, _ := w.a.orders.order(w.name)
	w.show(order, nil)
}

// running says what the node serves.
func (w *app) running() *wire.Running {
	st := &w.state
	if sw := st.Switch; sw != nil && !sw.Live.IsZero() {
		return &wire.Running{Epoch: sw.To.Epoch, Digest: sw.To.Digest, Version: sw.To.Version,
			State: wire.StateActive, Since: sw.Live.UTC(), Evidence: wire.Clip(w.proof)}
	}
	r := st.Running
	if r == nil {
		return nil
	}
	run := &wire.Running{Epoch: r.Epoch, Digest: r.Digest, Version: r.Version, State: wire.StateConfirmed,
		Since: st.Since.UTC(), Evidence: wire.Clip(w.proof), Error: wire.Clip(w.sick)}
	switch {
	case !w.proven:
		run.State = wire.StateActive // since the agent started nobody has read it back
	case st.Committed:
		run.State = wire.StateCommitted
	}
	if st.Back != nil {
		run.Error = wire.Clip("going back: " + st.Back.Reason)
	}
	return run
}

// progress says how far what is ordered has come, unless it is what runs.
func (w *app) progress(order wire.Order, steps []plan.Step) *wire.Progress {
	st := &w.state
	if sw := st.Switch; sw != nil {
		if sw.Live.IsZero() {
			return &wire.Progress{Epoch: sw.To.Epoch, Digest: sw.To.Digest, Version: sw.To.Version, State: wire.StateSwitching}
		}
		return nil
	}
	t := order.Base
	if order.Next != nil {
		t = &order.Next.Target
	}
	if t == nil || st.Running != nil && st.Running.Epoch >= t.Epoch {
		return nil
	}
	p := &wire.Progress{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, State: wire.StateStaging}
	f, failed := w.failed[t.Digest]
	switch mark, bad := st.Forbids(*t); {
	case bad && st.Back != nil:
		// Not taken back yet: the data plane may still serve it.
		p.State, p.Error = wire.StateSwitching, wire.Clip(mark.Reason)
	case bad:
		p.State, p.Error = mark.State, wire.Clip(mark.Reason)
	case failed && f.permanent:
		p.State, p.Error = wire.StateFailed, wire.Clip(f.err)
	case w.armed == t.Digest:
		p.State = wire.StateArmed
	case w.staged[t.Digest]:
		p.State = wire.StateStaged
	case failed:
		p.Error = wire.Clip(f.err)
	}
	for _, s := range steps {
		if s.Kind == plan.Refuse && s.Target.Epoch == t.Epoch && p.Error == "" {
			p.State, p.Error = wire.StateFailed, wire.Clip(s.Reason)
		}
	}
	return p
}

// same compares what a report would carry.
func same(a, b wire.AppReport) bool {
	x, errX := wire.EncodeJSON(a)
	y, errY := wire.EncodeJSON(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
