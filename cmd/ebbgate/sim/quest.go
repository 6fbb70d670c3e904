package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// quest is what a history looks for: a fault that strikes in one phase of a region, and in
// no other. Most look for nothing; the others find what chance alone seldom brings together.
type quest struct {
	fault fault
	phase rollout.RegionPhase
}

// quests are the pairs that are looked for, those more often that want more luck: whatever
// may happen while a step is taken back, which takes seconds of few rollouts, and purges of
// regions that have moved on.
func quests() (all []quest) {
	for _, f := range allFaults {
		all = append(all, quest{f, rollout.PhaseRetreating})
	}
	for _, f := range purgeFaults {
		for _, p := range []rollout.RegionPhase{rollout.PhaseArming, rollout.PhaseActivating, rollout.PhaseReverting, rollout.PhaseReverted} {
			all = append(all, quest{f, p})
		}
	}
	for _, q := range []quest{
		{faultCDNRefuse, rollout.PhaseActivating}, {faultCDNRefuse, rollout.PhaseReverted}, {faultRollback, rollout.PhaseArming}, {faultLie, rollout.PhaseReverted},
		{faultValidate, rollout.PhaseRetreating}, {faultFetch, rollout.PhaseRetreating}, {faultFloor, rollout.PhaseRetreating},
		{faultLie, rollout.PhaseRepurging}, {faultRollback, rollout.PhaseRepurging}, {faultPoint, rollout.PhaseRepurging},
	} {
		all = append(all, q, q, q)
	}
	for range 9 {
		for _, p := range []rollout.RegionPhase{rollout.PhaseArming, rollout.PhaseReverting, rollout.PhaseRetreating} {
			all = append(all, quest{faultCDNRefuse, p})
		}
		all = append(all, quest{faultFloor, rollout.PhaseRepurging}, quest{faultPause, rollout.PhaseActivating})
	}
	return append(all, quest{faultLie, rollout.PhaseArming}, quest{faultPoint, rollout.PhaseArming}, quest{faultCommit, rollout.PhaseReverted})
}

var purgeFaults = []fault{faultCDNSlow, faultCDNFail, faultCDNRefuse}

func drawQuest(l luck) quest {
	if !l.one(2) {
		return quest{}
	}
	all := quests()
	return all[l.IntN(len(all))]
}

// purges reports whether the quest needs purges that last until their region has moved on.
func (q quest) purges() bool { return slices.Contains(purgeFaults, q.fault) }

// needs reports whether a fault has to be on for the quest to succeed.
func (q quest) needs(f fault) bool {
	switch f {
	case q.fault, faultReinstall:
		return f == q.fault || q.purges()
	case faultCDNSlow, faultCDNFail:
		return q.purges()
	case faultCut:
		return q.fault == faultPause // who is cut off and paused knows least of what its successor ordered
	}
	return false
}

// meets reports whether one of the regions, or of all if none is named, is in the phase
// that is looked for.
func (w *world) meets(regions []wire.Region) bool {
	if len(regions) == 0 {
		regions = w.regions
	}
	return slices.ContainsFunc(regions, func(r wire.Region) bool { return w.phase[r] == w.quest.phase })
}

// found lets the fault strike a region that has just come to the phase.
func (w *world) found(r wire.Region) {
	for _, b := range blows() {
		if l, on := w.on[b.fault]; on && b.fault == w.quest.fault {
			for i := range 3 {
				w.after(l.between(0, 500*time.Millisecond<<(2*i)), func() {
					if w.faulty && w.phase[r] == w.quest.phase {
						b.fall(w, l)
					}
				})
			}
		}
	}
}

// prepare makes agents late for what their regions run, so that purges follow and last.
func (w *world) prepare(l luck) {
	if _, on := w.on[faultReinstall]; !on || !w.quest.purges() {
		return
	}
	for _, r := range w.regions {
		switch w.phase[r] {
		case rollout.PhaseIdle, rollout.PhaseCommitted, rollout.PhaseDropped, rollout.PhaseReverted:
			n := w.nodes[r][l.IntN(len(w.nodes[r]))]
			w.hit(faultReinstall, r)
			n.reinstall(l.between(time.Second, 10*time.Second))
		}
	}
	w.run(l.between(5*time.Second, 25*time.Second))
}
