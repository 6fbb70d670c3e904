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
	steps := plan.Steps(n.order(), n.local(), n.clock())
	for _, s := range steps {
		n.w.count("step " + string(s.Kind))
	}
	n.render(steps)
	step, until := n.choose(steps)
	if step == nil {
		n.wake(max(time.Millisecond, until.Sub(n.clock())))
		return
	}
	n.busy, n.basis = true, n.order()
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
		n.turn(30*time.Millisecond, 600*time.Millisecond, func() {
			ok := n.preload(s.Target)
			if delete(n.failed, s.Target.Digest); !ok {
				n.failed[s.Target.Digest] = failure{"does not validate", true}
			}
			n.done(s, ok)
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
	if n.armed.digest == s.Target.Digest {
		n.armed = content{}
	}
	n.later(n.luck.between(50*time.Millisecond, 3*time.Second), func() {
		switch {
		case !n.online() || n.w.strikes(faultFetch, n.w.seek(n.region, 5), n.region):
			n.failed[s.Target.Digest] = failure{"no connection", false}
			n.done(s, false)
		case n.ill(s.Target.Version) == faultStage:
			n.w.hit(faultStage, n.region)
			n.failed[s.Target.Digest] = failure{"does not validate", true}
			n.done(s, false)
		default:
			n.releases[s.Target.Digest] = true
			delete(n.rotten, s.Target.Digest)
			delete(n.failed, s.Target.Digest)
			n.done(s, true)
		}
	})
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
		if n.fails++; n.fails == 1 {
			n.ails(r.Version)
		}
		if n.fails >= 3 {
			n.sick = why
		}
	default:
		n.proven, n.fails, n.sick = true, 0, ""
	}
}

func (n *node) settle() {
	n.armed, n.drift, n.sick, n.fails, n.looked = content{}, "", "", 0, n.clock()
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
	if n.state.Back == nil || n.state.Crashes >= plan.CrashLimit {
		if !n.passable(s.Target.Digest) {
			n.done(s, false)
			return
		}
		if !n.change("reverting", func(st *plan.State) { st.TurnBack(s, n.clock()) }) {
			return
		}
	}
	n.render(nil)
	back := *n.state.Back
	returned := func(ok bool) {
		if !ok {
			n.done(s, false)
			return
		}
		shows := back.To == nil || n.examine(content{back.To.Digest, back.To.Epoch}, back.To.Version) == ""
		n.proven = back.To != nil && shows || n.proven
		if n.change("returned", func(st *plan.State) { st.Returned(n.clock(), shows) }) {
			n.w.log("%s is back: %s", n.id, back.Reason)
			n.settle()
			if !shows { // what was left may still be live
				n.drift = "does not show what it went back to"
			}
			n.tidy()
			n.done(s, true)
		}
	}
	if back.To == nil {
		n.left, n.current = n.live.digest, content{} // the data plane keeps what it has read
		returned(true)
		return
	}
	n.put(content{back.To.Digest, back.To.Epoch}, back.To.Version, returned)
}

// rollback goes back at the word of somebody on the node.
func (n *node) rollback() {
	if n.busy {
		n.later(100*time.Millisecond, n.rollback)
	}
	if !n.up || n.busy {
		return
	}
	to := n.wayBack()
	if to == nil {
		return
	}
	n.w.hit(faultRollback, n.region)
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
