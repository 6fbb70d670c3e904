package rollout

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Step takes an event into account and returns the new state and what has to be done, in
// the order it has to be done. It does not change s. A command that [Check] refuses changes
// nothing but the time.
func Step(s State, e Event) (State, []Effect) {
	t := newTurn(s, e.Time())
	switch e := e.(type) {
	case Tick:
		t.settle("")
	case Members:
		t.members(e)
		t.settle(e.Region)
	case Reported:
		if t.reported(e) {
			t.settle(e.Region)
		}
	case PurgeVerified:
		t.purgeVerified(e)
		t.settle("")
	case PurgeUnverified:
		t.purgeUnverified(e)
		t.settle("")
	case PurgeFailed:
		t.purgeFailed(e)
		t.settle("")
	case Measured:
		t.measured(e)
		t.settle("")
	case Start, Pause, Resume, Approve, Promote, StepBack, Abort, Undo:
		if Check(s, e) == nil {
			t.command(e)
			t.settle("")
		}
	default:
		panic(fmt.Sprintf("rollout: unknown event %T", e))
	}
	return t.finish()
}

// turn is the work on one event. It owns what it changes: regions are values that are
// replaced whole, and the map and the rollout are cloned before the first change.
type turn struct {
	s       State
	before  Record
	cloned  bool     // s.Regions is ours
	rollout *Rollout // ours, or nil until it is changed
	dirty   bool     // something changed since the last pass
	wide    bool     // a region's phase did
	decided []Decision
}

func newTurn(s State, now time.Time) *turn {
	t := &turn{s: s, before: s.Record}
	now = now.UTC().Round(0)
	if now.After(s.Now) || s.Now.Sub(now) > backlash {
		t.s.Now = now
	}
	if s.Since.IsZero() || s.Since.After(t.s.Now) {
		t.s.Since = t.s.Now
	}
	return t
}

// backlash is by how much an event may be older than the newest without being taken as the
// time: events overtake each other by little. More is a clock that was set back, or ran ahead
// for a moment, and is followed.
const backlash = time.Minute

// lost is how old a report may be.
func (s State) lost() time.Duration {
	if s.Lost > 0 {
		return s.Lost.Std()
	}
	return 30 * time.Second
}

func (t *turn) set(r wire.Region, rr RegionRecord) {
	if reflect.DeepEqual(t.s.Regions[r], rr) {
		return
	}
	if !t.cloned {
		t.s.Regions = maps.Clone(t.s.Regions)
		if t.s.Regions == nil {
			t.s.Regions = make(map[wire.Region]RegionRecord)
		}
		t.cloned = true
	}
	t.wide = t.wide || t.s.Regions[r].Phase != rr.Phase
	t.s.Regions[r] = rr
	t.dirty = true
}

// own returns the rollout for changing.
func (t *turn) own() *Rollout {
	if t.rollout == nil {
		c := *t.s.Rollout
		c.Before = maps.Clone(c.Before)
		t.rollout = &c
		t.s.Rollout = t.rollout
	}
	t.dirty = true
	return t.rollout
}

// active returns the rollout under way, or nil.
func (s State) active() *Rollout {
	if s.Rollout == nil || s.Rollout.Status.Ended() {
		return nil
	}
	return s.Rollout
}

// settle decides until nothing changes. A report can only move its own region, so only that
// is looked at until its phase or the rollout changes: what a report costs does not grow with
// the fleet.
func (t *turn) settle(focus wire.Region) {
	for range 10 * (len(t.s.Regions) + 10) {
		t.dirty, t.wide = false, false
		was := t.s.Rollout.course()
		t.pass(focus)
		if !t.dirty {
			return
		}
		if t.wide || was != t.s.Rollout.course() {
			focus = ""
		}
	}
	panic("rollout: decisions do not settle")
}

// course is what of a rollout matters to all its regions.
type course struct {
	id     string
	wave   int
	status RolloutStatus
	ending RolloutStatus
	shown  bool
}

func (ro *Rollout) course() course {
	if ro == nil {
		return course{}
	}
	return course{ro.ID, ro.Wave, ro.Status, ro.Ending, ro.Shown}
}

func (t *turn) pass(focus wire.Region) {
	regions := []wire.Region{focus}
	if focus == "" {
		regions = wire.Keys(t.s.Regions)
	}
	for _, r := range regions {
		t.refresh(r)
		t.purgeLate(r)
	}
	ro := t.s.active()
	if ro == nil {
		return
	}
	t.remind()
	if ro.Ending == "" {
		t.forward(focus)
	} else {
		t.backward(focus)
	}
	t.restate()
}

// restate derives the status of the active rollout.
func (t *turn) restate() {
	ro := t.s.active()
	if ro == nil {
		return
	}
	status := StatusRunning
	held := ro.Halt != ""
	for i, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			held = held || t.s.Regions[r].Hold != nil && (i == ro.Wave || ro.Ending != "")
		}
	}
	switch {
	case ro.Paused:
		status = StatusPaused
	case held:
		status = StatusHolding
	case ro.Ending != "":
		status = StatusReverting
	}
	if ro.Status != status {
		t.own().Status = status
	}
}

// maxDecisions bounds the decisions kept in the Record.
const maxDecisions = 200

// decide notes a decision. Every decision is made under a rollout: before the first there
// is nothing to decide.
func (t *turn) decide(kind Kind, r wire.Region, inputs map[string]string, format string, args ...any) {
	ro := t.own()
	t.s.Decided++
	d := Decision{
		N: t.s.Decided, At: t.s.Now, Kind: kind, Wave: ro.Wave, Region: r,
		Reason: wire.Clip(fmt.Sprintf(format, args...)), Inputs: inputs,
	}
	if r != "" {
		rr := t.s.Regions[r]
		d.Epoch = rr.epoch()
		if (kind == KindPurge || kind == KindBarrier) && rr.Purge != nil {
			d.Epoch = rr.Purge.Epoch // a late one is of what was before
		}
		for i, w := range ro.Plan.Waves {
			if slices.Contains(w.Regions, r) {
				d.Wave = i
			}
		}
	}
	kept := ro.Decisions
	if len(kept) >= maxDecisions {
		kept = kept[len(kept)-maxDecisions+1:]
	}
	ro.Decisions = append(slices.Clip(slices.Clone(kept)), d)
	t.decided = append(t.decided, d)
}

// finish compares what is with what was: decisions first, so that the log never lags behind
// an order, then orders, then readings and purges.
func (t *turn) finish() (State, []Effect) {
	var effects []Effect
	for _, d := range t.decided {
		effects = append(effects, Decide{t.s.App, d})
	}
	if t.cloned {
		for _, r := range wire.Keys(t.s.Regions) {
			was, is := t.before.Regions[r], t.s.Regions[r]
			if !reflect.DeepEqual(was.order(), is.order()) {
				effects = append(effects, Publish{t.s.App, r})
			}
		}
		for _, r := range wire.Keys(t.s.Regions) {
			was, is := t.before.Regions[r], t.s.Regions[r]
			for _, rd := range is.Readings {
				if !rd.open() || rd.Round <= was.reading(rd.Gate).Round {
					continue
				}
				if m, ok := t.s.measureOf(r, rd); ok {
					effects = append(effects, m)
				}
			}
			if is.Purge != nil && is.Purge.open() && (was.Purge == nil || was.Purge.Epoch != is.Purge.Epoch || was.Purge.Round != is.Purge.Round) {
				effects = append(effects, purgeOf(t.s.App, r, is))
			}
		}
	}
	if !reflect.DeepEqual(t.before, t.s.Record) {
		t.s.Revision++
	}
	return t.s, effects
}
