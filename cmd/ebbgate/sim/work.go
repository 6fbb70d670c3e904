package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// wake looks again after d, unless it is to look earlier anyway.
func (n *node) wake(d time.Duration) {
	n.alarm++
	alarm := n.alarm
	n.later(d, func() {
		if n.alarm == alarm {
			n.work()
		}
	})
}

// work does the first step of the plan that can be done; whatever ends a step comes back
// here.
func (n *node) work() {
	if n.busy {
		return
	}
	n.look()
	local := plan.Local{State: n.state, Agent: n.id, Staged: n.releases, Armed: n.armed, Drift: n.drift, Sick: n.sick}
	steps := plan.Steps(n.order(), local, n.clock())
	for _, s := range steps {
		n.w.count("step " + string(s.Kind))
	}
	n.render(steps)
	step, until := n.choose(steps)
	if step == nil {
		n.wake(max(time.Millisecond, until.Sub(n.clock())))
		return
	}
	n.busy = true
	n.do(*step)
}

func stepKey(s plan.Step) string {
	return string(s.Kind) + s.Target.Digest.String() + s.Target.Epoch.String()
}

func (n *node) choose(steps []plan.Step) (*plan.Step, time.Time) {
	now := n.clock()
	until := now.Add(probe)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(until) {
			until = t
		}
	}
	blocked := make(map[wire.Digest]bool)
	for i, s := range steps {
		switch s.Kind {
		case plan.Wait, plan.Refuse:
			sooner(s.Until)
			continue
		}
		switch d := n.delays[stepKey(s)]; {
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

// done ends a step; failed ones are postponed.
func (n *node) done(s plan.Step, ok bool) {
	n.busy = false
	if ok {
		delete(n.delays, stepKey(s))
	} else {
		d := n.delays[stepKey(s)]
		if d == nil {
			d = &delay{}
			n.delays[stepKey(s)] = d
		}
		d.wait = min(max(2*d.wait, time.Second), 30*time.Second)
		d.until = n.clock().Add(d.wait)
	}
	n.work()
}

func (n *node) do(s plan.Step) {
	switch s.Kind {
	case plan.Stage:
		n.stage(s)
	case plan.Arm:
		n.later(n.w.between(10*time.Millisecond, 200*time.Millisecond), func() {
			n.armed = s.Target.Digest
			n.done(s, true)
		})
	case plan.Activate:
		n.activate(s)
	case plan.Repair:
		n.repair(s)
	case plan.Commit:
		if n.change("committed", (*plan.State).Commit) {
			n.tidy()
			n.done(s, true)
		}
	case plan.Revert:
		n.revert(s)
	default:
		panic("no way to do " + s.Kind)
	}
}

func (n *node) stage(s plan.Step) {
	n.tidy(s.Target.Digest)
	n.later(n.w.between(50*time.Millisecond, 3*time.Second), func() {
		switch {
		case !n.online() || n.w.strikes(faultFetch, 5):
			n.failed[s.Target.Digest] = failure{"no connection", false}
			n.done(s, false)
		case n.trouble[s.Target.Version] == faultStage:
			n.failed[s.Target.Digest] = failure{"does not validate", true}
			n.done(s, false)
		default:
			n.releases[s.Target.Digest] = true
			delete(n.failed, s.Target.Digest)
			n.done(s, true)
		}
	})
}

// activate switches and confirms, with a journal write before and after whatever changes
// the node.
func (n *node) activate(s plan.Step) {
	t := s.Target
	to := plan.Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, Floor: n.w.catalog.floors[t.Digest]}
	if sw := n.state.Switch; sw != nil && sw.To.Epoch == t.Epoch && sw.To.Digest == t.Digest {
		to.Healthy = sw.To.Healthy
	} else if next := n.order().Next; next != nil && next.Epoch == t.Epoch {
		to.Healthy = next.Healthy
	}
	n.later(n.w.between(10*time.Millisecond, 200*time.Millisecond), func() { // validate, arm
		if n.trouble[t.Version] == faultValidate {
			n.give(s, "does not validate")
			return
		}
		n.armed = t.Digest
		if !n.change("switching", func(st *plan.State) { st.Begin(to, n.clock()) }) {
			return
		}
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
	n.later(n.w.between(time.Millisecond, 100*time.Millisecond), func() {
		n.current = c
		n.later(n.w.between(time.Millisecond, 300*time.Millisecond), func() {
			switch n.trouble[v] {
			case faultActivate:
				then(false)
				return
			case faultLie: // it says that it did
				delete(n.trouble, v)
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
		alive = n.change("reverting", func(st *plan.State) { st.Fail(n.clock(), why) })
	}
	if alive {
		n.done(s, true)
	}
}

// examine reads the data plane back.
func (n *node) examine(c content, v wire.Version) string {
	switch {
	case !n.planeUp || n.live != c:
		return "another release is live"
	case n.trouble[v] == faultSick, n.w.now.Before(n.sickTo) && n.trouble[v] == faultLater:
		return "probe answers 503"
	}
	return ""
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
				n.w.after(n.w.between(5*time.Second, 40*time.Second), func() {
					n.sickTo = n.w.now.Add(n.w.between(10*time.Second, 90*time.Second))
				})
			}
			n.settle()
			n.tidy()
			n.done(s, true)
		}
		return
	case why == "":
		fails = 0
	default:
		pause = 200 * time.Millisecond
		if fails++; fails == 3 {
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
	l := plan.Local{State: n.state.Clone(), Agent: n.id, Staged: n.releases, Armed: n.armed}
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

// look examines what runs, now and then.
func (n *node) look() {
	st := &n.state
	if st.Running == nil || st.Switch != nil || st.Back != nil || n.drift != "" || n.clock().Sub(n.looked) < probe {
		return
	}
	n.looked = n.clock()
	r := *st.Running
	switch why := n.examine(content{r.Digest, r.Epoch}, r.Version); {
	case n.live != (content{r.Digest, r.Epoch}):
		n.drift = "does not show the running release: " + why
	case why != "":
		if n.fails++; n.fails >= 3 {
			n.sick = why
		}
	default:
		n.proven, n.fails, n.sick = true, 0, ""
	}
}

func (n *node) settle() {
	n.armed, n.drift, n.sick, n.fails, n.looked = wire.Digest{}, "", "", 0, n.clock()
}

func (n *node) repair(s plan.Step) {
	r := *n.state.Running
	n.put(content{r.Digest, r.Epoch}, r.Version, func(ok bool) {
		if !ok || n.examine(content{r.Digest, r.Epoch}, r.Version) != "" {
			if n.fails++; n.fails >= 3 {
				n.sick = "cannot be repaired"
			}
			n.done(s, false)
			return
		}
		n.proven = true
		n.settle()
		n.done(s, true)
	})
}

func (n *node) revert(s plan.Step) {
	if n.state.Back == nil && !n.change("reverting", func(st *plan.State) { st.TurnBack(s, n.clock()) }) {
		return
	}
	n.render(nil)
	back := *n.state.Back
	returned := func(ok bool) {
		if !ok {
			n.done(s, false)
			return
		}
		if back.To != nil {
			n.proven = n.examine(content{back.To.Digest, back.To.Epoch}, back.To.Version) == "" || n.proven
		}
		if n.change("returned", func(st *plan.State) { st.Returned(n.clock()) }) {
			n.w.log("%s is back: %s", n.id, back.Reason)
			n.settle()
			n.tidy()
			n.done(s, true)
		}
	}
	if back.To == nil {
		n.current = content{} // the data plane keeps what it has read
		returned(true)
		return
	}
	n.put(content{back.To.Digest, back.To.Epoch}, back.To.Version, returned)
}

// rollback goes back at the word of somebody on the node.
func (n *node) rollback() {
	if !n.up || n.busy {
		return
	}
	to := n.state.Undo(n.releases)
	if to == nil {
		return
	}
	n.w.log("%s is rolled back on the node to %s", n.id, to.Version)
	if n.change("rolling back", func(st *plan.State) { st.Rollback(to, n.order(), n.clock()) }) {
		n.work()
	}
}

// tidy removes what neither state nor order needs.
func (n *node) tidy(also ...wire.Digest) {
	keep := make(map[wire.Digest]bool)
	for _, d := range append(n.state.Keep(), also...) {
		keep[d] = true
	}
	o := n.order()
	if o.Base != nil {
		keep[o.Base.Digest] = true
	}
	if o.Next != nil {
		keep[o.Next.Digest] = true
	}
	keep[n.current.digest] = true
	had := make(map[wire.Digest]bool, len(n.releases))
	for d := range n.releases {
		had[d] = true
		if !keep[d] {
			delete(n.releases, d)
		}
	}
	for d := range n.failed {
		if !keep[d] {
			delete(n.failed, d)
		}
	}
	n.w.tidied(n, had)
}
