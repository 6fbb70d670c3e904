package plan

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Kind is what a step does.
type Kind string

// The kinds of step. Wait and Refuse touch nothing.
const (
	Stage    Kind = "stage"    // fetch, verify, write to disk, let the data plane validate
	Arm      Kind = "arm"      // let the data plane preload it
	Activate Kind = "activate" // switch to it and confirm it
	Repair   Kind = "repair"   // make the data plane serve what it should already serve
	Commit   Kind = "commit"   // call it last known good
	Revert   Kind = "revert"   // go back to it; a zero Target: there is nothing to go back to
	Wait     Kind = "wait"
	Refuse   Kind = "refuse"
)

// Step is one thing to do, or the reason why nothing is done.
type Step struct {
	Kind   Kind
	Target wire.Target
	Reason string
	Until  time.Time // of a Wait: when to ask again unless something happens; zero: not before
}

// Local is what the agent knows of one app on its node.
type Local struct {
	State
	Agent  wire.AgentID
	Staged map[wire.Digest]bool // releases on disk whose content was verified
	Armed  wire.Digest          // what the data plane has preloaded
	// Drift says in what the data plane differs from the state ("serves nothing",
	// "serves 1.2"); empty: it serves what it should, or has not been asked.
	Drift string
	// Sick says why the running release is not healthy; it is not committed meanwhile.
	Sick string
}

// attempts is how often a change is begun before it is taken back: the second time, after
// a crash in the middle of the first.
const attempts = 2

// CrashLimit is how many crashes of the agent, each within [CrashWindow] of the
// activation or of the return to it, make what it serves bad.
const (
	CrashLimit  = 3
	CrashWindow = 2 * time.Minute
)

// Steps returns what to do about one app, in order: what the node needs to go on serving,
// then staging, then what changes the node, then why nothing more happens. It is never
// empty.
func Steps(o wire.Order, l Local, now time.Time) []Step {
	if l.Crashes >= CrashLimit {
		if step, ok := crashing(l); ok {
			return []Step{step}
		}
	}
	if l.Back != nil {
		return []Step{{Kind: Revert, Target: target(l.Back.To), Reason: l.Back.Reason}}
	}
	p := &planner{l: l, now: now}
	if l.Switch == nil {
		p.tend(o)
	}
	goal := p.next(o)
	if goal == nil {
		goal = p.base(o)
	}
	switch {
	case l.Switch != nil && (goal == nil || goal.Epoch <= l.Switch.To.Epoch || !l.Staged[goal.Digest]):
		// What would need the network first must not keep the node in the middle.
		p.steps = nil
		p.finish()
	case goal != nil:
		p.add(Activate, *goal, fmt.Sprintf("epoch %d is ordered", goal.Epoch))
	default:
		p.soak(o)
	}
	if len(p.steps) == 0 {
		p.wait(time.Time{}, "nothing is ordered")
	}
	return p.steps
}

type planner struct {
	l     Local
	now   time.Time
	steps []Step
}

func (p *planner) add(k Kind, t wire.Target, reason string) {
	p.steps = append(p.steps, Step{Kind: k, Target: t, Reason: reason})
}

func (p *planner) wait(until time.Time, reason string) {
	p.steps = append(p.steps, Step{Kind: Wait, Reason: reason, Until: until})
}

// next stages the change under way and returns it if this node is to run it now.
func (p *planner) next(o wire.Order) *wire.Target {
	n := o.Next
	if n == nil || p.served(n.Target) {
		return nil
	}
	if why := p.forbidden(n.Target); why != "" {
		p.add(Refuse, n.Target, why)
		return nil
	}
	if n.Epoch <= p.l.Pinned {
		p.wait(time.Time{}, fmt.Sprintf("rolled back on the node: waits for an epoch above %d", p.l.Pinned))
		return nil
	}
	p.stage(n.Target, "it is next")
	in := n.Cohort.Has(p.l.Agent)
	if in && p.l.Armed != n.Digest && (n.Phase == wire.PhaseStage || p.now.Before(n.NotBefore)) {
		p.add(Arm, n.Target, "the cohort holds this agent")
	}
	switch {
	case n.Phase != wire.PhaseActivate:
		p.wait(time.Time{}, "staged only: activation is not ordered yet")
	case !in:
		p.wait(time.Time{}, "the cohort does not hold this agent yet")
	case !n.Expires.IsZero() && p.now.After(n.Expires):
		p.add(Refuse, n.Target, "the order expired at "+n.Expires.UTC().Format(time.RFC3339))
	case p.now.Before(n.NotBefore):
		p.wait(n.NotBefore, "not before "+n.NotBefore.UTC().Format(time.RFC3339))
	default:
		return &n.Target
	}
	return nil
}

// base returns the region's committed state if this node has to move to it.
func (p *planner) base(o wire.Order) *wire.Target {
	b := o.Base
	if b == nil || p.served(*b) {
		return nil
	}
	if at := p.activated(); b.Epoch < at {
		p.wait(time.Time{}, fmt.Sprintf("keeps epoch %d: the region's base %d is older", at, b.Epoch))
		return nil
	}
	if why := p.forbidden(*b); why != "" {
		p.add(Refuse, *b, why)
		return nil
	}
	if b.Epoch <= p.l.Pinned {
		p.wait(time.Time{}, fmt.Sprintf("rolled back on the node: waits for an epoch above %d", p.l.Pinned))
		return nil
	}
	p.stage(*b, "the region has committed it")
	return b
}

// stage adds the staging of t unless it is on disk.
func (p *planner) stage(t wire.Target, why string) {
	if !p.l.Staged[t.Digest] {
		p.add(Stage, t, why)
	}
}

// finish ends a change that a crash or a lost order left in the middle.
func (p *planner) finish() {
	sw := p.l.Switch
	switch {
	case !p.l.Staged[sw.To.Digest]:
		p.add(Revert, target(p.l.retreat(p.l.Staged)), fmt.Sprintf("the switch to %s cannot be finished: it is damaged on disk", sw.To.Version))
	case sw.Attempt >= attempts:
		p.add(Revert, target(p.l.retreat(p.l.Staged)), fmt.Sprintf("the switch to %s was interrupted %d times", sw.To.Version, sw.Attempt))
	default:
		p.add(Activate, target(&sw.To), "the switch was interrupted")
	}
}

// tend looks after what runs: damage on disk, drift of the data plane.
func (p *planner) tend(o wire.Order) {
	r := p.l.Running
	switch {
	case r == nil:
	case p.l.Staged[r.Digest] && p.l.Drift != "":
		p.add(Repair, target(r), "the data plane "+p.l.Drift)
	case !p.l.Staged[r.Digest]:
		const why = "the running release is damaged on disk"
		if t, ok := offered(o, r.Digest); ok {
			p.add(Stage, t, why)
		} else if back := p.l.Undo(p.l.Staged); back != nil {
			p.add(Revert, target(back), why)
		}
	}
}

// soak commits what runs once it has been confirmed long enough.
func (p *planner) soak(o wire.Order) {
	r, b := p.l.Running, o.Base
	if r == nil {
		return
	}
	if p.l.Committed || b == nil || b.Epoch != r.Epoch || b.Digest != r.Digest {
		p.wait(time.Time{}, fmt.Sprintf("serves %s at epoch %d", r.Version, r.Epoch))
		return
	}
	switch until := p.l.Confirmed.Add(b.Soak.Std()); {
	case p.l.Sick != "":
		p.wait(time.Time{}, "is not committed while it fails: "+p.l.Sick)
	case p.now.Before(until):
		p.wait(until, "soaks until "+until.UTC().Format(time.RFC3339))
	default:
		p.add(Commit, *b, "soaked for "+b.Soak.String())
	}
}

// served reports whether t is what the node runs.
func (p *planner) served(t wire.Target) bool {
	r := p.l.Running
	return p.l.Switch == nil && r != nil && r.Epoch == t.Epoch && r.Digest == t.Digest
}

// activated returns the epoch below which this node does not go.
func (p *planner) activated() (e wire.Epoch) {
	if p.l.Running != nil {
		e = p.l.Running.Epoch
	}
	if p.l.Switch != nil {
		e = max(e, p.l.Switch.To.Epoch)
	}
	return e
}

// forbidden says why t must not run on this node; empty: it may.
func (p *planner) forbidden(t wire.Target) string {
	if p.l.Floor.Compare(t.Version) > 0 {
		return fmt.Sprintf("version %s is below the floor %s", t.Version, p.l.Floor)
	}
	if m, bad := p.l.Forbids(t); bad {
		return fmt.Sprintf("bad at epoch %d: %s", m.Epoch, m.Reason)
	}
	r, h := p.l.Running, p.l.Highest
	if r != nil && r.Epoch == t.Epoch && r.Digest != t.Digest || h.Epoch == t.Epoch && h.Digest != t.Digest {
		return fmt.Sprintf("epoch %d already named another bundle", t.Epoch)
	}
	if at := p.activated(); t.Epoch < at {
		return fmt.Sprintf("epoch %d is below %d, which this node has activated", t.Epoch, at)
	}
	return ""
}

// crashing gives up what the agent keeps crashing with, if there is a way back.
func crashing(l Local) (Step, bool) {
	left, back := l.blamed(), l.retreat(l.Staged)
	if l.Switch == nil && left != nil {
		back = l.older(l.Staged, left.Digest)
	}
	if left == nil || back == nil {
		return Step{}, false
	}
	why := fmt.Sprintf("the agent crashed %d times within %s of the activation of %s", l.Crashes, CrashWindow, left.Version)
	if l.Back != nil {
		why = fmt.Sprintf("the agent crashed %d times while it went back to %s", l.Crashes, left.Version)
	}
	return Step{Kind: Revert, Target: target(back), Reason: why}, true
}

// offered finds where the order offers the bundle d.
func offered(o wire.Order, d wire.Digest) (wire.Target, bool) {
	switch {
	case o.Next != nil && o.Next.Digest == d:
		return o.Next.Target, true
	case o.Base != nil && o.Base.Digest == d:
		return *o.Base, true
	}
	return wire.Target{}, false
}

func target(r *Release) wire.Target {
	if r == nil {
		return wire.Target{}
	}
	return wire.Target{Epoch: r.Epoch, Digest: r.Digest, Version: r.Version}
}
