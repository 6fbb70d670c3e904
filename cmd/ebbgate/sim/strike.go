package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// blow is a fault that comes from outside, about once in so many seconds.
type blow struct {
	fault fault
	every int
	fall  func(*world, luck)
}

// blows returns what is asked for about every second, in this order.
func blows() []blow {
	return []blow{
		{faultCrash, 30, func(w *world, l luck) {
			n := w.victim(l)
			w.hit(faultCrash, n.region)
			n.crash("killed", l.between(time.Second, 20*time.Second))
		}},
		{faultReboot, 60, func(w *world, l luck) {
			n := w.victim(l)
			w.hit(faultReboot, n.region)
			n.reboot(l.between(10*time.Second, 150*time.Second))
		}},
		{faultReinstall, 30, func(w *world, l luck) {
			n := w.victim(l)
			w.hit(faultReinstall, n.region)
			n.reinstall(l.between(10*time.Second, 100*time.Second))
		}},
		{faultStop, 60, func(w *world, l luck) {
			n := w.victim(l)
			w.hit(faultStop, n.region)
			n.stop(l.between(time.Second, 10*time.Second))
		}},
		{faultDisconnect, 40, func(w *world, l luck) {
			n := w.victim(l)
			if n.cut {
				return
			}
			w.hit(faultDisconnect, n.region)
			w.log("%s is disconnected", n.id)
			n.cut = true
			w.after(l.between(2*time.Second, []time.Duration{150, 300}[l.IntN(2)]*time.Second), n.connect)
		}},
		{faultPartition, 90, func(w *world, l luck) { w.partition(w.quarry(l, rare...), l.between(5*time.Second, 200*time.Second)) }},
		{faultSkew, 60, func(w *world, l luck) { w.victim(l).jump(l) }},
		{faultGossip, 40, func(w *world, l luck) { w.victim(l).lie(l) }},
		{faultStage, 40, spoil(faultStage)},
		{faultValidate, 12, spoil(faultValidate)},
		{faultActivate, 60, spoil(faultActivate)},
		{faultLie, 60, spoil(faultLie)},
		{faultSick, 90, spoil(faultSick)},
		{faultLater, 60, spoil(faultLater)},
		{faultDamage, 30, func(w *world, l luck) { w.victim(l).damage(l) }},
		{faultDrain, 60, func(w *world, l luck) {
			n := w.victim(l)
			w.drain(n, !n.drained)
		}},
		{faultRollback, 20, func(w *world, l luck) {
			w.victim(l, rollout.PhaseIdle, rollout.PhaseStaging, rollout.PhaseDropped).rollback()
		}},
		{faultController, 35, func(w *world, l luck) {
			w.hit(faultController)
			w.someController(l).crash("killed")
		}},
		{faultCut, 50, func(w *world, l luck) { w.someController(l).cutOff(l.between(2*time.Second, 60*time.Second)) }},
		{faultPause, 50, func(w *world, l luck) { w.someController(l).pause(l.between(time.Second, 40*time.Second)) }},
		{faultClock, 60, func(w *world, l luck) { w.someController(l).jump(l) }},
		{faultDisk, 120, func(w *world, l luck) { w.someController(l).loseDisk() }},
		{faultRestart, 150, func(w *world, l luck) {
			if w.bus.restart(l.between(100*time.Millisecond, 10*time.Second)) {
				w.hit(faultRestart)
			}
		}},
		{faultTail, 25, func(w *world, l luck) { w.bus.loseTail(l) }},
		{faultWipe, 150, func(w *world, l luck) { w.bus.wipe(l) }},
	}
}

// strike lets faults strike from outside until everything heals.
func (w *world) strike() {
	if !w.faulty {
		return
	}
	pause := w.op.luck.between(500*time.Millisecond, 1500*time.Millisecond)
	w.after(pause/w.haste(), w.strike)
	for _, b := range blows() {
		if w.draws(b.fault, b.every) {
			b.fall(w, w.on[b.fault])
		}
	}
}

// haste is how many times more often faults strike while a region does what takes seconds
// only.
func (w *world) haste() time.Duration {
	haste := time.Duration(1)
	for _, r := range w.regions {
		switch w.phase[r] {
		case rollout.PhaseArming:
			haste = max(haste, 4)
		case rollout.PhaseRetreating:
			if c := w.leader(); c != nil && c.state.Regions[r].Retreat != nil && !c.state.Regions[r].Retreat.Waits {
				haste = 10
			}
		}
	}
	return haste
}

// rare are phases that a region is in for a short time, or seldom; faults seek them.
var rare = []rollout.RegionPhase{
	rollout.PhaseRepurging, rollout.PhaseArming, rollout.PhaseReverted, rollout.PhasePurging, rollout.PhaseReverting, rollout.PhaseRetreating, rollout.PhaseDropped, rollout.PhaseIdle,
}

// quarry draws a region, one in a phase that is sought rather than another.
func (w *world) quarry(l luck, sought ...rollout.RegionPhase) wire.Region {
	if w.quest.fault != "" && w.meets(nil) {
		return w.draw(l, w.quest.phase)
	}
	for _, p := range sought {
		if slices.ContainsFunc(w.regions, func(r wire.Region) bool { return w.phase[r] == p }) && l.one(2) {
			return w.draw(l, p)
		}
	}
	return w.regions[l.IntN(len(w.regions))]
}

// draw returns one of the regions in the phase.
func (w *world) draw(l luck, p rollout.RegionPhase) wire.Region {
	there := slices.DeleteFunc(slices.Clone(w.regions), func(r wire.Region) bool { return w.phase[r] != p })
	return there[l.IntN(len(there))]
}

// seek makes a fault that strikes once in n times surer where it has few times to strike.
func (w *world) seek(r wire.Region, n int) int {
	if w.moves(r) || w.phase[r] == rollout.PhaseReverted {
		return (n + 1) / 2
	}
	return n
}

// victim draws a node, of a region in such a phase, or in a rare one, rather than another.
func (w *world) victim(l luck, sought ...rollout.RegionPhase) *node {
	nodes := w.nodes[w.quarry(l, append(sought, rare...)...)]
	return nodes[l.IntN(len(nodes))]
}

// someController draws the leader rather than another.
func (w *world) someController(l luck) *controller {
	if c := w.leader(); c != nil && l.one(2) {
		return c
	}
	return w.ctls[l.IntN(len(w.ctls))]
}

func (w *world) partition(r wire.Region, d time.Duration) {
	if w.bus.cut[r] {
		return
	}
	w.hit(faultPartition, r)
	w.log("%s is cut off", r)
	w.bus.cut[r] = true
	w.after(d, func() { w.rejoin(r) })
}

func (w *world) rejoin(r wire.Region) {
	if !w.bus.cut[r] {
		return
	}
	w.log("%s is back", r)
	w.bus.cut[r] = false
	w.reconnect(w.nodes[r])
}

// reconnect tells agents that their connection is back.
func (w *world) reconnect(nodes []*node) {
	for _, n := range nodes {
		if n.online() {
			n.connected()
		}
	}
}

// drain takes an agent out of service, or back in: traffic ends before the controller is
// told, and comes back after.
func (w *world) drain(n *node, drained bool) {
	c := w.leader()
	if c == nil || n.drained == drained {
		return
	}
	w.hit(faultDrain, n.region)
	w.log("%s drained: %v", n.id, drained)
	n.touch()
	n.drained, n.back = drained, w.now
	c.memberChanged(n.region)
}

// heal ends all faults for good.
func (w *world) heal() {
	w.log("everything heals")
	w.faulty = false
	for _, n := range w.all {
		clear(n.trouble)
		n.cut, n.liar, n.curse = false, nil, ""
		n.start()
	}
	w.bus.up()
	for _, r := range w.regions {
		w.rejoin(r)
	}
	for _, c := range w.ctls {
		c.skew = 0
		c.wake()
		c.connect()
	}
	w.reconnect(w.all)
}
