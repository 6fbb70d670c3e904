package stale

import (
	"slices"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// floor is the promise of a barrier: whatever is asked for later has at least this epoch.
type floor struct {
	epoch wire.Epoch
	at    int64 // Unix nanoseconds
}

// course is what the controller said it did in a region during a run.
type course struct {
	region    wire.Region
	activated int64   // the first activation was ordered; 0: never
	promised  []floor // by every barrier, in order
	floors    []floor // those of promised that are held against the answers
}

// last returns when the last barrier that counts was reached, and false without one.
func (c course) last() (int64, bool) {
	if len(c.floors) == 0 {
		return 0, false
	}
	return c.floors[len(c.floors)-1].at, true
}

// courseOf reads what was decided in a region. With behind, the first barrier leaves an
// agent behind and counts as promised only; due is when one that was to follow is held to
// have been reached anyway, or 0.
func courseOf(r wire.Region, decisions []rollout.Decision, behind bool, due int64) course {
	co := course{region: r}
	for _, d := range decisions {
		switch {
		case d.Region != r:
		case d.Kind == rollout.KindActivate && co.activated == 0:
			co.activated = d.At.UnixNano()
		case d.Kind == rollout.KindBarrier && co.activated != 0: // others are of the release before
			f := floor{epochOf(d), d.At.UnixNano()}
			co.promised = append(co.promised, f)
			if !behind || d.Inputs["round"] != "1" {
				co.floors = append(co.floors, f)
			}
		}
	}
	if due != 0 && len(co.promised) > 0 {
		co.floors = append(co.floors, floor{co.promised[len(co.promised)-1].epoch, due})
	}
	return co
}

// epochOf returns the epoch that a barrier is of. The decision's own is that of the change
// under way, which a late agent's purge may be behind.
func epochOf(d rollout.Decision) wire.Epoch {
	n, err := strconv.ParseUint(d.Inputs["epoch"], 10, 64)
	if err != nil {
		panic("a barrier without an epoch: " + d.String())
	}
	return wire.Epoch(n)
}

// took returns how long after the first activation the last barrier was reached.
func (c course) took() (time.Duration, bool) {
	at, reached := c.last()
	return time.Duration(at - c.activated), reached
}

// broken returns the first of the floors that the answer is below, though it was asked for
// later.
func broken(floors []floor, a answer) (floor, bool) {
	i := slices.IndexFunc(floors, func(f floor) bool { return f.at < a.asked && a.epoch < f.epoch })
	if i < 0 {
		return floor{}, false
	}
	return floors[i], true
}
