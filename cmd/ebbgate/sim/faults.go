package sim

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// fault is something that may go wrong in a history.
type fault string

const (
	faultCrash      fault = "agent crash" // at any moment
	faultPoint      fault = "agent crash at a journal write"
	faultReboot     fault = "node reboot" // the data plane dies too
	faultReinstall  fault = "node reinstalled"
	faultStop       fault = "agent stopped" // in order
	faultDisconnect fault = "agent disconnected"
	faultPartition  fault = "region partitioned"
	faultDrop       fault = "announcement dropped"
	faultRepeat     fault = "message repeated"
	faultSlow       fault = "message delayed" // past others
	faultReport     fault = "report not stored"
	faultSkew       fault = "agent clock jumps"
	faultGossip     fault = "gossip lies"
	faultStage      fault = "bundle does not stage"
	faultValidate   fault = "bundle does not validate"
	faultActivate   fault = "data plane does not activate"
	faultLie        fault = "data plane lies"
	faultSick       fault = "unhealthy at once"
	faultLater      fault = "unhealthy later"
	faultFetch      fault = "fetch fails"
	faultDamage     fault = "release damaged"
	faultController fault = "controller crash"
	faultCommit     fault = "controller crash at a commit"
	faultCut        fault = "controller cut off"
	faultPause      fault = "controller paused" // and woken, none the wiser
	faultClock      fault = "controller clock jumps"
	faultDisk       fault = "controller disk lost"
	faultRestart    fault = "bus restarted"
	faultTail       fault = "bus tail lost" // what it had not synced when it died
	faultWipe       fault = "bus wiped"
	faultCDNSlow    fault = "cdn slow"
	faultCDNFail    fault = "cdn fails"
	faultCDNRefuse  fault = "cdn refuses"
	faultMetrics    fault = "metrics server dead"
	faultNumber     fault = "gate sees a bad number"
	faultDrain      fault = "agent drained"
	faultRollback   fault = "rolled back on the node"
	faultFloor      fault = "bundle raises the floor"
)

var allFaults = []fault{
	faultCrash, faultPoint, faultReboot, faultReinstall, faultStop, faultDisconnect, faultPartition, faultDrop, faultRepeat, faultSlow,
	faultReport, faultSkew, faultGossip, faultStage, faultValidate, faultActivate, faultLie, faultSick, faultLater,
	faultFetch, faultDamage,
	faultController, faultCommit, faultCut, faultPause, faultClock, faultDisk, faultRestart, faultTail, faultWipe,
	faultCDNSlow, faultCDNFail, faultCDNRefuse, faultMetrics, faultNumber, faultDrain, faultRollback, faultFloor,
}

// flag is the fault as the flag -only names it.
func (f fault) flag() string { return strings.ReplaceAll(string(f), " ", "-") }

// drawFaults switches faults on: in some histories none, in others nearly all.
func (w *world) drawFaults() {
	w.quest = drawQuest(w.luck("quest"))
	w.on = make(map[fault]luck)
	share := w.luck("share").IntN(9)
	if w.quest.fault != "" {
		share /= 2 // what else goes wrong keeps regions from getting there
	}
	for _, f := range allFaults {
		l := w.luck(string(f))
		if (l.IntN(10) < share || w.quest.needs(f)) && w.res.Shape.allows(f) {
			w.on[f] = l
			w.res.Faults = append(w.res.Faults, f.flag())
		}
	}
}

// draws tells whether a fault strikes this time, once in n times. One that the history is a
// quest for strikes in its phase.
func (w *world) draws(f fault, n int, at ...wire.Region) bool {
	l, on := w.on[f]
	switch {
	case !w.faulty || !on:
		return false
	case f == w.quest.fault:
		return w.meets(at) && l.one(2)
	case w.quest.purges() && slices.Contains(purgeFaults, f) && w.meets(at):
		return false // one ends or delays what the other is to strike
	}
	return l.one(n)
}

// strikes tells the same of one that takes effect at once.
func (w *world) strikes(f fault, n int, at ...wire.Region) bool {
	if !w.draws(f, n, at...) {
		return false
	}
	w.hit(f, at...)
	return true
}

// hit counts that a fault takes effect, and the phases in which it finds its regions; one
// that has no region of its own finds all of them.
func (w *world) hit(f fault, at ...wire.Region) {
	w.count("fault " + string(f))
	if len(at) == 0 {
		at = w.regions
	}
	var seen []rollout.RegionPhase
	for _, r := range at {
		if p := w.phase[r]; !slices.Contains(seen, p) {
			seen = append(seen, p)
			w.count(pair(f, p))
		}
	}
}

func pair(f fault, p rollout.RegionPhase) string { return string(f) + " × " + phaseName(p) }

func phaseName(p rollout.RegionPhase) string { return cmp.Or(string(p), "idle") }
