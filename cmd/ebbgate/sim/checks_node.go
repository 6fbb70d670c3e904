package sim

import (
	"time"

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
	switch point {
	case "switching":
		w.switching(n, before)
	case "reverting":
		if was, ran := before.Switch, before.Running; was != nil && !same(s.Back.To, ran) && (ran == nil || n.releases[ran.Digest]) {
			w.fail("%s gives up %s and does not go back to what it ran", n.id, was.To.Version)
		}
	case "committed":
		w.committed(n, before)
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

// switching: only to what is ordered, is not bad, not below floor or pin, and on time.
func (w *world) switching(n *node, before plan.State) {
	to, o := n.state.Switch.To, n.basis
	again := before.Switch != nil && same(&before.Switch.To, &to)
	based := o.Base != nil && o.Base.Epoch == to.Epoch && o.Base.Digest == to.Digest
	ordered := o.Next != nil && o.Next.Phase == wire.PhaseActivate && o.Next.Epoch == to.Epoch && o.Next.Digest == to.Digest && o.Next.Cohort.Has(n.id)
	switch {
	case !again && !based && !ordered:
		w.fail("%s begins %s at epoch %d, which is not ordered", n.id, to.Version, to.Epoch)
	case !again && !based && !o.Next.Expires.IsZero() && n.clock().Sub(o.Next.Expires) > time.Second && w.now.Sub(n.jumped) > time.Second:
		w.fail("%s begins %s by an order that expired at %s", n.id, to.Version, o.Next.Expires)
	case before.Running != nil && to.Epoch < before.Running.Epoch || before.Switch != nil && to.Epoch < before.Switch.To.Epoch:
		w.fail("%s begins epoch %d below what it runs", n.id, to.Epoch)
	case before.Floor.Compare(to.Version) > 0:
		w.fail("%s begins %s below the floor %s", n.id, to.Version, before.Floor)
	case to.Epoch <= before.Pinned:
		w.fail("%s begins epoch %d although it is pinned up to %d", n.id, to.Epoch, before.Pinned)
	case !n.releases[to.Digest]:
		w.fail("%s begins %s, which is not staged", n.id, to.Version)
	}
	for _, m := range before.Bad {
		if m.Digest == to.Digest && to.Epoch <= m.Epoch {
			w.fail("%s begins %s at epoch %d, which is bad up to %d: %s", n.id, to.Version, to.Epoch, m.Epoch, m.Reason)
		}
	}
	w.inFlight(n)
}

// committed: only what was well for all its soak is last known good.
func (w *world) committed(n *node, before plan.State) {
	if n.sick != "" {
		w.fail("%s commits %s, which is sick: %s", n.id, before.Running.Version, n.sick)
	}
	soaked := n.clock().Sub(before.Confirmed)
	if b := n.basis.Base; b != nil && soaked < b.Soak.Std() && w.now.Sub(n.jumped) > 2*time.Minute {
		w.fail("%s commits %s after %s, want %s", n.id, before.Running.Version, soaked, b.Soak)
	}
}

func same(a, b *plan.Release) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Epoch == b.Epoch && a.Digest == b.Digest
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
