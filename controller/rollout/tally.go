package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Silent reports whether an agent in service is silent.
func (s State) Silent() bool {
	return slices.ContainsFunc(wire.Keys(s.View.Members), func(r wire.Region) bool { return s.tally(r).Silent > 0 })
}

// presence is what we know of an agent's being there.
type presence int

const (
	live    presence = iota // reported lately
	waiting                 // not heard of since it was named: too early to say
	silent                  // unknown
)

func (s State) presence(a *Agent) presence {
	switch {
	case a.Report != nil && s.Now.Sub(a.Stored) <= s.lost():
		return live
	case a.Report == nil && s.Now.Sub(a.Seen) <= s.lost():
		return waiting
	}
	return silent
}

// confirmed reports whether the agent serves the epoch, read back live and healthy.
func confirmed(a *Agent, e wire.Epoch) bool {
	if a.Report == nil || a.Report.Running == nil {
		return false
	}
	r := a.Report.Running
	return r.Epoch == e && r.Error == "" && (r.State == wire.StateConfirmed || r.State == wire.StateCommitted)
}

// switched reports whether the agent serves the epoch at all.
func switched(a *Agent, e wire.Epoch) bool {
	return a.Report != nil && a.Report.Running != nil && a.Report.Running.Epoch == e
}

// staged reports whether the agent has the content of the epoch validated, or further.
func staged(a *Agent, e wire.Epoch) bool {
	if switched(a, e) {
		return true
	}
	if a.Report == nil || a.Report.Next == nil || a.Report.Next.Epoch != e {
		return false
	}
	switch a.Report.Next.State {
	case wire.StateStaged, wire.StateArmed, wire.StateSwitching:
		return true
	}
	return false
}

// armed reports whether the agent has the content of the epoch preloaded, or further.
func armed(a *Agent, e wire.Epoch) bool {
	if switched(a, e) {
		return true
	}
	n := (*wire.Progress)(nil)
	if a.Report != nil {
		n = a.Report.Next
	}
	return n != nil && n.Epoch == e && (n.State == wire.StateArmed || n.State == wire.StateSwitching)
}

// failure is an agent that failed, and how.
type failure struct {
	agent  wire.AgentID
	reason string
}

// tally is how the agents of a region stand. In its counts, an agent that failed is neither
// staged, confirmed nor in flight.
type tally struct {
	Counts
	known    bool // the member list is
	serving  int
	waiting  int
	failed   int       // live ones of Failed
	failures []failure // not acknowledged
	vanished []failure // not acknowledged
}

// tally counts a region's agents.
func (s State) tally(r wire.Region) tally {
	m, rr := s.View.Members[r], s.Regions[r]
	tl := tally{known: m != nil}
	if m == nil {
		return tl
	}
	for _, f := range s.vanished(r) {
		_, acked := slices.BinarySearch(rr.Acked, f.agent)
		if _, missed := slices.BinarySearch(rr.Missed, f.agent); !acked && !missed {
			tl.vanished = append(tl.vanished, f)
		}
	}
	for _, a := range m.Agents {
		tl.Total++
		if a.Drained {
			tl.Drained++
			continue
		}
		tl.serving++
		p := s.presence(a)
		_, acked := slices.BinarySearch(rr.Acked, a.ID)
		switch p {
		case silent:
			tl.Silent++
		case waiting:
			tl.waiting++
		case live:
			tl.Live++
		}
		if reason := s.failed(rr, a); reason != "" {
			tl.Failed++
			if !acked {
				tl.failures = append(tl.failures, failure{a.ID, reason})
			}
			tl.failed += one(p == live)
			tl.InCohort += one(p == live && inCohort(rr, a))
			continue
		}
		if p != live {
			continue
		}
		e := rr.epoch()
		in, conf := inCohort(rr, a), confirmed(a, e)
		tl.Staged += one(staged(a, e))
		tl.Armed += one(armed(a, e))
		tl.Active += one(switched(a, e))
		tl.Confirmed += one(conf)
		tl.InCohort += one(in)
		tl.InFlight += one(in && !conf)
	}
	if ro := s.active(); tl.serving == 0 && ro != nil && ro.Ending == "" {
		s.tallyDrained(&tl, m, rr)
	}
	return tl
}

// tallyDrained counts the failures that agents of a region report in which nobody serves. Nobody
// waits for them, but they are all that tells of the release there.
func (s State) tallyDrained(tl *tally, m *Membership, rr RegionRecord) {
	for _, a := range m.Agents {
		reason := rr.reports(a)
		if reason == "" {
			continue
		}
		tl.Failed++
		if _, acked := slices.BinarySearch(rr.Acked, a.ID); !acked {
			tl.failures = append(tl.failures, failure{a.ID, reason})
		}
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// crashLimit is how many crashes of an agent since it switched make it failed: one may
// have another cause.
const crashLimit = 2

// tolerates reports how many silent agents may be left behind.
func (tl tally) tolerates(p Plan) int {
	return max(0, min(p.MaxUnreachable.Floor(tl.serving), tl.serving-1))
}

// allFailed reports whether every serving agent failed or, where nobody serves, every drained one.
func (tl tally) allFailed() bool {
	if tl.serving == 0 {
		return tl.Failed == tl.Total
	}
	return tl.failed == tl.serving
}

// inCohort reports whether the agent may switch. It compares the score kept for the
// rollout's seed, which is the seed of every order of the rollout.
func inCohort(rr RegionRecord, a *Agent) bool {
	return rr.Next != nil && rr.Next.Phase == wire.PhaseActivate && rr.Next.Cohort.Holds(a.ID, a.score)
}

// failed returns how the agent failed at the region's epoch, or "". An agent has not failed
// by being silent, however short the deadline is, and neither has one that is new or back for
// less than it.
func (s State) failed(rr RegionRecord, a *Agent) string {
	if reason := rr.reports(a); reason != "" {
		return reason
	}
	ro := s.active()
	if ro == nil || a.Report == nil || !rr.awaits(a) || s.presence(a) != live {
		return ""
	}
	since, what := rr.Times.Ordered, "stage"
	switch {
	case rr.Phase == PhaseArming:
		since, what = rr.Issued, "arm"
	case rr.Next.Phase == wire.PhaseActivate:
		since, what = rr.orderedAt(a), "confirm"
	}
	since = later(later(since, rr.Returned), a.since)
	if a.Stored.Sub(since) >= ro.Plan.Deadline.Std() { // it was heard of since, and still has not
		return fmt.Sprintf("did not %s within %s", what, ro.Plan.Deadline)
	}
	return ""
}

// reports returns how the agent itself says that it failed at the region's epoch, or "".
func (rr RegionRecord) reports(a *Agent) string {
	e := rr.epoch()
	if e == 0 || a.Report == nil {
		return ""
	}
	if n := a.Report.Next; n != nil && n.Epoch == e && (n.State == wire.StateFailed || n.State == wire.StateReverted) {
		return string(n.State) + ": " + n.Error
	}
	if switched(a, e) && a.Report.Running.Error != "" {
		return "unhealthy: " + a.Report.Running.Error
	}
	if switched(a, e) && a.Report.Running.Crashes >= crashLimit {
		return fmt.Sprintf("crash-looping: its agent crashed %d times since it switched", a.Report.Running.Crashes)
	}
	return ""
}

// epoch returns the epoch that matters in the region now.
func (rr RegionRecord) epoch() wire.Epoch {
	switch {
	case rr.Next != nil:
		return rr.Next.Epoch
	case rr.Committed != nil:
		return rr.Committed.Epoch
	}
	return 0
}

// orderedAt returns since when the agent may switch.
func (rr RegionRecord) orderedAt(a *Agent) time.Time {
	for _, rung := range rr.Ladder {
		if a.score <= rung.CutOff {
			return rung.At
		}
	}
	if !rr.NamedAt.IsZero() {
		return rr.NamedAt
	}
	return rr.Issued
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
