package sim

import (
	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// served: a node serves only what was ordered of it and staged, at epochs that go down
// only on its own way back.
func (w *world) served(n *node) {
	c := n.live
	if c.digest.IsZero() {
		return
	}
	if !n.allowed[c] {
		w.fail("%s serves %s at epoch %d, which was never ordered of it", n.id, c.digest.Short(), c.epoch)
	}
	s := &n.state
	is := func(r *plan.Release) bool { return r != nil && c == content{r.Digest, r.Epoch} }
	if !is(s.Running) && (s.Switch == nil || !is(&s.Switch.To)) && (s.Back == nil || !is(s.Back.To)) && c != n.current {
		w.fail("%s serves %s at epoch %d, which is neither where it comes from nor where it goes", n.id, c.digest.Short(), c.epoch)
	}
	if v := w.catalog.version(c.digest); s.Floor.Compare(v) > 0 {
		w.fail("%s serves %s, below its floor %s", n.id, v, s.Floor)
	}
}

// safe: what a node serves, or would after a reboot, is whole on its disk at any time.
func (w *world) safe() {
	for _, n := range w.all {
		for _, d := range []wire.Digest{n.current.digest, n.live.digest} {
			if !d.IsZero() && !n.releases[d] && !n.rotten[d] && d != n.left {
				w.fail("%s serves %s, or would after a reboot, which is not on its disk", n.id, d.Short())
			}
		}
	}
}

// journaled: what an agent remembers goes one way.
func (w *world) journaled(n *node, point string, before plan.State) {
	s := n.state
	w.count("journal " + point)
	if s.Switch != nil && s.Back != nil {
		w.fail("%s: a switch and a return at once after %s", n.id, point)
	}
	if s.Floor.Compare(before.Floor) < 0 {
		w.fail("%s: the floor went from %s to %s", n.id, before.Floor, s.Floor)
	}
	if s.Highest.Epoch < before.Highest.Epoch {
		w.fail("%s: the highest epoch went from %d to %d", n.id, before.Highest.Epoch, s.Highest.Epoch)
	}
	if point == "switching" {
		to := s.Switch.To
		if before.Running != nil && to.Epoch < before.Running.Epoch || before.Switch != nil && to.Epoch < before.Switch.To.Epoch {
			w.fail("%s begins epoch %d below what it runs", n.id, to.Epoch)
		}
		if before.Floor.Compare(to.Version) > 0 {
			w.fail("%s begins %s below the floor %s", n.id, to.Version, before.Floor)
		}
		if !n.releases[to.Digest] {
			w.fail("%s begins %s, which is not staged", n.id, to.Version)
		}
		w.inFlight(n)
	}
	if s.Running != nil && before.Running != nil && s.Running.Epoch < before.Running.Epoch && point != "returned" {
		w.fail("%s: running went from epoch %d to %d at %s", n.id, before.Running.Epoch, s.Running.Epoch, point)
	}
	if s.Floor.Compare(before.Floor) > 0 {
		w.hit(faultFloor, n.region)
	}
	if point == "active" {
		n.confirmed[s.Running.Epoch] = true
		if n.live != (content{s.Running.Digest, s.Running.Epoch}) {
			w.fail("%s confirms epoch %d and serves %d", n.id, s.Running.Epoch, n.live.epoch)
		}
	}
}

// tidied: what may be served again is still there.
func (w *world) tidied(n *node, had map[wire.Digest]bool) {
	need := []wire.Digest{n.current.digest}
	s := n.state
	for _, r := range []*plan.Release{s.Running, s.Previous, s.Serving()} {
		if r != nil {
			need = append(need, r.Digest)
		}
	}
	if s.Switch != nil {
		need = append(need, s.Switch.To.Digest)
	}
	for _, r := range s.Soaked {
		need = append(need, r.Digest)
	}
	for _, d := range need {
		if had[d] && !n.releases[d] {
			w.fail("%s removed %s, which it may have to serve", n.id, d.Short())
		}
	}
}
