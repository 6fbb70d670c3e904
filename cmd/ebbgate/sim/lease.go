package sim

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Times of the lease, as the real controller's.
const (
	leaseBeat    = 2 * time.Second
	leaseSilence = 10 * time.Second
	leaseDoubt   = 3 * leaseBeat
)

// leader returns who drives the fleet, if anybody can.
func (w *world) leader() *controller {
	for _, c := range w.ctls {
		if c.leading && !c.asleep && c.online() && c.holds() {
			return c
		}
	}
	return nil
}

// holds reports whether the lease is c's, as far as the bus knows.
func (c *controller) holds() bool { return c.fence == c.w.bus.fence && c.self == c.w.bus.holder }

// stand waits for the lease, and copies the journal meanwhile. Only time in which the bus
// answered is the leader's silence; a lost lease is first of all for its holder to take again.
func (c *controller) stand() {
	const every = leaseBeat / 2
	answered := c.askLease()
	c.silent += min(c.w.now.Sub(c.looked), 2*every)
	if !answered || c.heard {
		c.silent = 0
	}
	b := c.w.bus
	ours := b.holder == c.self
	c.led = c.led || c.heard || answered && b.holder != "" && !ours
	c.heard, c.looked = false, c.w.now
	switch {
	case !answered:
	case ours, b.holder == "" && !c.led, c.silent >= leaseSilence:
		if b.holder != "" && !ours {
			c.w.count("lease taken over")
		}
		c.takeLease()
		c.lead()
		return
	case c.w.now.Sub(c.copied) >= leaseBeat:
		c.copied = c.w.now
		c.follow()
	}
	c.later(every, c.stand)
}

// askLease reports whether the bus says who leads. One that has lost its streams gets them
// again.
func (c *controller) askLease() bool {
	if !c.online() {
		return false
	}
	if c.w.bus.missing {
		c.w.log("%s sets up the streams", c.name)
		c.w.bus.missing = false
		c.w.bus.seq = uint64(c.clock().UnixMilli()) // no fence is given out twice after a wipe
	}
	return true
}

func (c *controller) takeLease() {
	c.w.bus.takeLease(c)
	c.fence, c.sure = c.w.bus.fence, c.w.now
}

// follow copies what is newer on the bus.
func (c *controller) follow() {
	for _, key := range wire.Keys(c.w.bus.journal) {
		if theirs := c.w.bus.journal[key]; theirs.replaces(c.disk[key]) {
			c.disk[key] = theirs
			c.w.count("record copied by a standby")
		}
	}
}

func (c *controller) beat() {
	if c.online() {
		for _, other := range c.w.ctls {
			if other == c || c.w.strikes(faultDrop, 4) {
				continue
			}
			life := other.life
			c.w.bus.carry(c.luck, func() {
				other.awake(life, func() { other.heard = other.heard || other.online() })
			})
		}
	}
	if c.hold() {
		c.later(leaseBeat, c.beat)
	}
}

// hold looks whether the lease is c's own. One that nobody has any more, or that is its own
// from before, is taken again. It reports whether c lives.
func (c *controller) hold() bool {
	if !c.askLease() {
		return true
	}
	b := c.w.bus
	switch ours := b.holder == c.self; {
	case c.holds():
		c.sure = c.w.now
	case b.holder == "", ours:
		c.regain()
	default:
		c.crash("deposed")
		return false
	}
	return true
}

// regain begins a term on a bus that has lost something: everything is copied there again.
func (c *controller) regain() {
	c.takeLease()
	c.w.log("%s takes the lease again at %d", c.name, c.fence)
	c.w.count("lease taken again after a loss")
	c.term = c.fence
	for _, key := range wire.Keys(c.disk) {
		c.term = max(c.term, c.disk[key].term+1)
		c.dirty[key] = true
	}
	for _, r := range c.w.regions {
		c.again(rollout.Publish{App: app, Region: r}, nil)
	}
	c.pump()
}

// lossEvery is how often a leader compares the bus with what it had acknowledged.
const lossEvery = 30 * time.Second

func (c *controller) watch() {
	if c.online() && !c.w.bus.missing {
		c.findLosses()
	}
	c.later(lossEvery, c.watch)
}

func (c *controller) findLosses() {
	b := c.w.bus
	for _, key := range wire.Keys(c.disk) {
		if there, ok := b.journal[key]; !c.dirty[key] && (!ok || c.disk[key].newer(there.place)) {
			if c.holds() {
				c.regain()
			}
			return
		}
	}
	for _, r := range c.w.regions {
		if d := c.wants[r].doc; d != nil && b.wants[r] != d {
			c.w.count("orders put again after a loss")
			c.again(rollout.Publish{App: app, Region: r}, nil)
			c.pump()
		}
	}
}

// takes reports whether an operator's command is taken: only while the bus has said lately
// that the lease is c's own.
func (c *controller) takes() bool {
	return c.leading && !c.asleep && c.w.now.Sub(c.sure) <= leaseDoubt
}

func (c *controller) online() bool { return !c.cut && !c.w.bus.down }

func (c *controller) cutOff(d time.Duration) {
	if c.cut {
		return
	}
	c.w.hit(faultCut)
	c.w.log("%s is cut off from the bus", c.name)
	c.cut = true
	c.w.after(d, c.connect)
}

func (c *controller) connect() {
	if !c.cut {
		return
	}
	c.cut = false
	c.w.log("%s is connected", c.name)
	c.reconnected()
}

// reconnected is what happens when the connection is back: what the bus has lost meanwhile
// is put there again before anything that follows from it, and every report is read again.
func (c *controller) reconnected() {
	if !c.online() {
		return
	}
	c.back = c.w.now
	c.links++
	if c.leading {
		c.awake(c.life, func() {
			if !c.hold() {
				return
			}
			c.findLosses()
			c.catchReports()
			c.pump()
		})
	}
}

// pause stops the process; nothing that is due happens before it is woken.
func (c *controller) pause(d time.Duration) {
	if !c.up || c.asleep {
		return
	}
	c.w.hit(faultPause)
	c.w.log("%s is paused", c.name)
	c.asleep = true
	life := c.life
	c.w.after(d, func() {
		if c.life == life {
			c.wake()
		}
	})
}

func (c *controller) wake() {
	if !c.asleep {
		return
	}
	c.w.log("%s wakes", c.name)
	c.asleep, c.back = false, c.w.now
	dreams := c.dreams
	c.dreams = nil
	for _, do := range dreams {
		do()
	}
}

// awake does something as soon as the process is awake, unless it dies before.
func (c *controller) awake(life int, do func()) {
	switch {
	case c.life != life:
	case c.asleep:
		c.dreams = append(c.dreams, func() {
			if c.life == life {
				do()
			}
		})
	default:
		do()
	}
}

// later does something unless the controller dies before.
func (c *controller) later(d time.Duration, do func()) {
	life := c.life
	c.w.after(d, func() { c.awake(life, do) })
}

// jump puts its clock wrong, badly for a while and then a little.
func (c *controller) jump(l luck) {
	c.w.hit(faultClock)
	c.setClock(l.between(-3*time.Minute, 3*time.Minute))
	c.w.after(l.between(5*time.Second, time.Minute), func() {
		if c.w.faulty {
			c.setClock(l.between(-10*time.Second, 10*time.Second))
		}
	})
}

func (c *controller) setClock(skew time.Duration) {
	c.w.log("%s: the clock is off by %s", c.name, skew)
	c.skew, c.jumped = skew, c.w.now
}

// clock is the machine's own.
func (c *controller) clock() time.Time { return c.w.now.Add(c.skew) }

// loseDisk kills it with its disk. It comes back under another name, which the disk kept.
func (c *controller) loseDisk() {
	if len(c.disk) == 0 || !c.w.bus.whole() {
		return
	}
	c.w.hit(faultDisk)
	c.crash("its disk is lost")
	c.w.log("%s has lost its disk", c.name)
	c.disks++
	c.self = fmt.Sprintf("%s.%d", c.name, c.disks)
	c.disk, c.outbox = map[string]record{}, map[string]accepted{}
}
