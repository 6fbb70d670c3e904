package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// preload validates and arms a release, unless it is armed.
func (n *node) preload(t wire.Target) bool {
	if n.armed == (content{t.Digest, t.Epoch}) && n.arms {
		return true
	}
	if n.armed = (content{}); n.ill(t.Version) == faultValidate {
		n.w.hit(faultValidate, n.region)
		return false
	}
	n.armed = content{t.Digest, t.Epoch}
	return true
}

// activate switches and confirms, with a journal write before and after whatever changes
// the node.
func (n *node) activate(s plan.Step) {
	t := s.Target
	to := plan.Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, Floor: n.w.catalog.floors[t.Digest]}
	to.Healthy = n.state.Healthy(t, n.order())
	n.turn(10*time.Millisecond, 200*time.Millisecond, func() { // validate, arm
		if !n.whole(t.Digest) {
			n.done(s, false)
			return
		}
		if !n.preload(t) {
			n.give(s, "does not validate")
			return
		}
		if !n.change("switching", func(st *plan.State) { st.Begin(to, n.clock()) }) {
			return
		}
		n.armed = content{} // the switch uses it up
		n.w.log("%s begins %s at epoch %d", n.id, t.Version, t.Epoch)
		n.render(nil)
		n.put(content{t.Digest, t.Epoch}, t.Version, func(ok bool) {
			if !ok {
				n.give(s, "cannot be activated")
				return
			}
			if !n.change("verifying", func(st *plan.State) { st.Switched(n.clock()) }) {
				return
			}
			n.render(nil)
			n.confirm(s, n.desired, 0)
		})
	})
}

// put names c in the link and then lets the data plane switch to it.
func (n *node) put(c content, v wire.Version, then func(ok bool)) {
	n.turn(time.Millisecond, 100*time.Millisecond, func() {
		n.current = c
		n.turn(time.Millisecond, 300*time.Millisecond, func() {
			switch n.ill(v) {
			case faultActivate:
				n.w.hit(faultActivate, n.region)
				then(false)
				return
			case faultLie: // it says that it did
				n.w.hit(faultLie, n.region)
				delete(n.trouble, v)
				n.curse = ""
			default:
				n.show(c)
			}
			then(true)
		})
	})
}

// give ends an activation that failed.
func (n *node) give(s plan.Step, why string) {
	n.w.log("%s cannot activate %s at epoch %d: %s", n.id, s.Target.Version, s.Target.Epoch, why)
	sw := n.state.Switch
	alive := false
	if sw == nil || sw.To.Digest != s.Target.Digest || sw.To.Epoch != s.Target.Epoch {
		alive = n.change("failed", func(st *plan.State) { st.Spoil(s.Target, why) })
	} else {
		back := plan.Step{Kind: plan.Revert, Reason: why}
		if to := n.wayBack(); to != nil {
			back.Target = wire.Target{Epoch: to.Epoch, Digest: to.Digest, Version: to.Version}
		}
		alive = n.change("reverting", func(st *plan.State) { st.TurnBack(back, n.clock()) })
	}
	if alive {
		n.done(s, true)
	}
}

// wayBack returns where to go back to: a release that is whole on the disk.
func (n *node) wayBack() *plan.Release {
	to := n.state.Undo(n.releases)
	for to != nil && !n.whole(to.Digest) {
		to = n.state.Undo(n.releases)
	}
	return to
}

// passable reads back where a return leads that is about to be decided. It is false if that
// is damaged and the plan can do better.
func (n *node) passable(d wire.Digest) bool {
	if b := n.state.Back; d.IsZero() || b != nil && b.To != nil && b.To.Digest == d {
		return true
	}
	whole := n.whole(d)
	return whole || n.state.Switch != nil && n.state.Undo(n.releases) == nil
}

// examine reads the data plane back.
func (n *node) examine(c content, v wire.Version) string {
	switch {
	case !n.planeUp || n.live != c:
		return "another release is live"
	case n.ill(v) == faultSick, n.w.now.Before(n.sickTo) && n.ill(v) == faultLater:
		return "probe answers 503"
	}
	return ""
}

// ails counts what a look has just found.
func (n *node) ails(v wire.Version) {
	if f := n.ill(v); f == faultSick || f == faultLater {
		n.w.hit(f, n.region)
	}
}

// confirm looks until the healthy time is over; three bad looks in a row end it.
func (n *node) confirm(s plan.Step, order *document, fails int) {
	c := content{s.Target.Digest, s.Target.Epoch}
	until := n.state.Switch.Live.Add(n.state.Switch.To.Healthy.Std())
	why := n.examine(c, s.Target.Version)
	pause := min(time.Second, until.Sub(n.clock()))
	switch {
	case why == "" && !n.clock().Before(until):
		n.proven = true
		if n.change("active", func(st *plan.State) { st.Confirm(n.clock()) }) {
			if n.trouble[s.Target.Version] == faultLater {
				n.w.after(n.luck.between(5*time.Second, 40*time.Second), func() {
					n.sickTo = n.w.now.Add(n.luck.between(30*time.Second, 90*time.Second))
				})
			}
			delete(n.failed, s.Target.Digest)
			n.settle()
			n.tidy()
			n.done(s, true)
		}
		return
	case why == "":
		fails = 0
	default:
		pause = 200 * time.Millisecond
		if fails++; fails == 1 {
			n.ails(s.Target.Version)
		}
		if fails == 3 {
			n.give(s, why)
			return
		}
	}
	n.later(pause, func() {
		if n.urgent(s.Target, order) {
			n.w.count("activation superseded")
			n.busy = false
			n.work()
			return
		}
		n.confirm(s, order, fails)
	})
}

// urgent reports whether a newer order makes the one in progress give way.
func (n *node) urgent(doing wire.Target, order *document) bool {
	if n.desired == order {
		return false
	}
	l := n.local()
	l.State = n.state.Clone()
	if l.Switch != nil {
		l.Switch.Attempt = 0
	}
	for _, s := range plan.Steps(n.order(), l, n.clock()) {
		switch s.Kind {
		case plan.Wait, plan.Refuse, plan.Commit, plan.Arm:
		default:
			return s.Target.Digest != doing.Digest || s.Target.Epoch != doing.Epoch
		}
	}
	return n.state.Switch == nil
}
