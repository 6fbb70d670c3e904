package sim

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// fault is something that may go wrong in a history.
type fault string

const (
	faultCrash      fault = "agent crash" // at any moment
	faultPoint      fault = "agent crash at a journal write"
	faultReboot     fault = "node reboot"   // the data plane dies too
	faultStop       fault = "agent stopped" // in order
	faultDisconnect fault = "agent disconnected"
	faultPartition  fault = "region partitioned"
	faultDrop       fault = "announcement dropped"
	faultRepeat     fault = "message repeated"
	faultSlow       fault = "message delayed"
	faultReport     fault = "report not stored"
	faultSkew       fault = "clock skewed"
	faultStage      fault = "bundle does not stage"
	faultValidate   fault = "bundle does not validate"
	faultActivate   fault = "data plane does not activate"
	faultLie        fault = "data plane lies once"
	faultSick       fault = "unhealthy at once"
	faultLater      fault = "unhealthy later"
	faultFetch      fault = "fetch fails for a while"
	faultController fault = "controller crash"
	faultCommit     fault = "controller crash at a commit"
	faultCut        fault = "controller cut off"
	faultCDNSlow    fault = "cdn slow"
	faultCDNFail    fault = "cdn fails"
	faultCDNRefuse  fault = "cdn refuses"
	faultDrain      fault = "agent drained"
	faultRollback   fault = "rolled back on the node"
	faultFloor      fault = "bundle raises the floor"
)

// Faults lists them all.
var allFaults = []fault{
	faultCrash, faultPoint, faultReboot, faultStop, faultDisconnect, faultPartition, faultDrop, faultRepeat, faultSlow,
	faultReport, faultSkew, faultStage, faultValidate, faultActivate, faultLie, faultSick, faultLater, faultFetch,
	faultController, faultCommit, faultCut, faultCDNSlow, faultCDNFail, faultCDNRefuse, faultDrain, faultRollback, faultFloor,
}

type faults map[fault]bool

// draw switches faults on: in some histories none, in others nearly all.
func (w *world) drawFaults() {
	w.on = make(faults)
	share := w.rnd.IntN(7)
	for _, f := range allFaults {
		w.on[f] = w.rnd.IntN(10) < share
	}
}

// trouble draws what is wrong with a bundle on a node.
func (w *world) trouble(n *node, v wire.Version, share int) {
	for _, f := range []fault{faultStage, faultValidate, faultActivate, faultLie, faultSick, faultLater} {
		if w.strikes(f, share) {
			w.log("%s will find %s: %s", n.id, v, f)
			n.trouble[v] = f
			return
		}
	}
}

// strike lets faults strike from the outside, about every second.
func (w *world) strike() {
	if !w.faulty {
		return
	}
	w.after(w.between(500*time.Millisecond, 1500*time.Millisecond), w.strike)
	n := w.all[w.rnd.IntN(len(w.all))]
	switch {
	case w.strikes(faultCrash, 30):
		n.crash("killed", w.between(time.Second, 20*time.Second))
	case w.strikes(faultReboot, 60):
		n.reboot(w.between(10*time.Second, 150*time.Second))
	case w.strikes(faultStop, 60):
		n.stop(w.between(time.Second, 10*time.Second))
	case !n.cut && w.strikes(faultDisconnect, 40):
		w.log("%s is disconnected", n.id)
		n.cut = true
		w.after(w.between(2*time.Second, 150*time.Second), func() { n.connect() })
	case w.strikes(faultPartition, 90):
		w.partition(w.regions[w.rnd.IntN(len(w.regions))], w.between(5*time.Second, 200*time.Second))
	case w.strikes(faultController, 60):
		w.ctls[w.rnd.IntN(len(w.ctls))].crash("killed")
	case w.strikes(faultCut, 90):
		c := w.ctls[w.rnd.IntN(len(w.ctls))]
		w.log("%s is cut off from the bus", c.name)
		c.cut = true
		w.after(w.between(2*time.Second, 60*time.Second), c.connect)
	case w.strikes(faultDrain, 60):
		w.drain(n, !n.drained)
	case w.strikes(faultRollback, 300):
		n.rollback()
	}
}

func (w *world) partition(r wire.Region, d time.Duration) {
	if w.bus.cut[r] {
		return
	}
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
	for _, n := range w.nodes[r] {
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
	w.log("%s drained: %v", n.id, drained)
	n.touch()
	n.drained = drained
	c.memberChanged(n.region)
}

// heal ends all faults for good.
func (w *world) heal() {
	w.log("everything heals")
	w.faulty = false
	for _, n := range w.all {
		clear(n.trouble)
		n.cut = false
		n.start()
	}
	for _, r := range w.regions {
		w.rejoin(r)
	}
	for _, c := range w.ctls {
		c.connect()
	}
	for _, n := range w.all {
		if n.online() {
			n.connected()
		}
	}
}

func regionName(i int) wire.Region                { return wire.Region(fmt.Sprintf("r%d", i+1)) }
func agentName(r wire.Region, i int) wire.AgentID { return wire.AgentID(fmt.Sprintf("%s-n%d", r, i+1)) }
