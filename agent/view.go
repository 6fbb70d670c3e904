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
	v := plan.Report(order, w.local(order), plan.Sight{Proven: w.proven, Proof: w.proof, Failed: w.failed}, steps)
	traits := w.plane.Traits()
	v.Plane, v.Traits = traits.String(), traits.Declared()
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

// same compares what a report would carry.
func same(a, b wire.AppReport) bool {
	x, errX := wire.EncodeJSON(a)
	y, errY := wire.EncodeJSON(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
