package sim

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// lost is after how long without a report the engine takes an agent for silent.
const lost = 30 * time.Second

// controller is the shell around the rollout engine.
type controller struct {
	w    *world
	name string
	luck luck

	// On its disk.
	self   string // its name as the lease's holder
	disk   map[string]record
	outbox map[string]accepted // by purge effect
	disks  int                 // lost so far

	// Its machine.
	skew   time.Duration // of the clock
	jumped time.Time     // when that changed
	cut    bool          // from the bus
	back   time.Time     // when it was last connected, or awake, after it was not

	life int // of the process
	process
}

// accepted is how many of the two purges of an effect the cdn has accepted, and when it last did.
type accepted struct {
	times int
	last  time.Time
}

// process is what ends with it.
type process struct {
	up, leading, asleep bool
	dreams              []func() // what is due when it wakes

	heard          bool          // the leader, since the last look
	led            bool          // by another controller, since this one waits
	silent         time.Duration // for how long the leader has been
	looked, copied time.Time     // when it last did so
	sure           time.Time     // when the bus last said that the lease is its own
	fence, term    uint64
	links          int // connections, so far

	state     rollout.State
	wants     map[wire.Region]want
	reports   map[wire.AgentID]message
	queue     []rollout.Effect
	dirty     map[string]bool
	following map[string]bool
	pumping   bool
}

// start begins a process; it ends at once without the bus, and is started again.
func (c *controller) start() {
	if c.up {
		return
	}
	if !c.online() {
		c.later(c.luck.between(time.Second, 5*time.Second), c.start)
		return
	}
	c.up, c.looked = true, c.w.now
	c.stand()
}

func (c *controller) crash(why string) {
	if !c.up {
		return
	}
	c.w.log("%s dies: %s", c.name, why)
	c.life++
	c.process = process{}
	c.later(c.luck.between(time.Second, 30*time.Second), c.start)
}

// lead begins a term: reconcile, load, resume.
func (c *controller) lead() {
	c.dirty, c.following = make(map[string]bool), make(map[string]bool)
	c.wants, c.reports = make(map[wire.Region]want), make(map[wire.AgentID]message)
	c.reconcile()
	c.load()
	c.leading = true
	c.w.log("%s leads under fence %d, term %d", c.name, c.fence, c.term)
	for _, r := range c.w.regions {
		if doc := c.w.bus.wants[r]; doc != nil {
			if v := c.wants[r]; doc.sequence > v.sequence() || doc.sequence == v.sequence() && doc != v.doc {
				c.wants[r] = want{above: doc.sequence}
			}
		}
		if !c.reorder(r) || !c.step(c.members(r)) {
			return
		}
	}
	c.queue = append(c.queue, rollout.Pending(c.state)...)
	c.w.took(c)
	c.pump()
	c.later(0, c.beat)
	c.later(time.Second, c.tick)
	c.later(lossEvery, c.watch)
	c.catchReports()
}

func (c *controller) catchReports() {
	for _, n := range c.w.all {
		if m, told := c.w.bus.reports[n.id]; told {
			c.later(c.luck.between(time.Millisecond, 500*time.Millisecond), func() { c.observe(m) })
		}
	}
}

func (c *controller) members(r wire.Region) rollout.Members {
	e := rollout.Members{Now: c.clock(), Region: r}
	for _, n := range c.w.nodes[r] {
		e.Agents = append(e.Agents, rollout.Member{ID: n.id, Drained: n.drained})
	}
	return e
}

func (c *controller) memberChanged(r wire.Region) { c.step(c.members(r)) }

// reorder signs a document again if it does not say what the engine orders.
func (c *controller) reorder(r wire.Region) bool {
	put := make(map[string]any)
	v, changed := c.desire(put, r, c.state)
	if !changed {
		return true
	}
	if !c.commit(put) {
		return false
	}
	c.wants[r] = v
	return true
}

func (c *controller) desire(put map[string]any, r wire.Region, s rollout.State) (want, bool) {
	o, last := rollout.OrderFor(s, r), c.wants[r]
	if last.doc == nil && o.Base == nil && o.Next == nil || last.doc != nil && reflect.DeepEqual(last.doc.order, o) {
		return last, false
	}
	next := want{doc: &document{last.sequence() + 1, o}}
	put["want."+string(r)] = next
	return next, true
}

func (c *controller) tick() {
	if c.step(rollout.Tick{Now: c.clock()}) {
		c.later(time.Second, c.tick)
	}
}

func (c *controller) observe(m message) {
	if !c.overtake(c.w.byID[m.agent].region, m.desired) {
		return
	}
	old, known := c.reports[m.agent]
	at := cmp.Or(cmp.Compare(m.incarnation, old.incarnation), cmp.Compare(m.sequence, old.sequence))
	if known && (at < 0 || at == 0 && !m.stored.After(old.stored)) {
		return
	}
	c.reports[m.agent] = m
	alive := c.step(rollout.Reported{
		Now: c.clock(), Region: c.w.byID[m.agent].region, Agent: m.agent, Stored: m.stored,
		Incarnation: m.incarnation, Sequence: m.sequence, Desired: m.desired,
		Build: c.w.byID[m.agent].build, Peers: m.members, Report: m.report,
	})
	if alive {
		c.w.heard(c, m)
	}
}

// overtake signs a region's orders anew above a sequence that an agent has acted on and
// nobody here knows.
func (c *controller) overtake(r wire.Region, seen uint64) bool {
	if seen <= c.wants[r].sequence() {
		return true
	}
	c.w.count("orders signed above an agent's")
	c.wants[r] = want{above: seen}
	if !c.reorder(r) {
		return false
	}
	c.again(rollout.Publish{App: app, Region: r}, nil)
	c.pump()
	return true
}

// step gives an event to the engine, commits what it decided and queues the effects. It
// reports whether the controller lives.
func (c *controller) step(e rollout.Event) bool {
	before := c.state
	next, effects := rollout.Step(before, e)
	if next.Revision == before.Revision && len(effects) == 0 {
		c.state = next
		return true
	}
	put := make(map[string]any)
	if next.Revision != before.Revision {
		data, err := wire.EncodeJSON(next.Record)
		if err != nil {
			c.w.fail("a record cannot be written: %v", err)
		}
		put["app"] = data
	}
	wants := make(map[wire.Region]want)
	for _, eff := range effects {
		if p, ok := eff.(rollout.Publish); ok {
			if v, changed := c.desire(put, p.Region, next); changed {
				wants[p.Region] = v
			}
		}
	}
	if !c.commit(put) {
		return false
	}
	c.state = next
	for _, r := range wire.Keys(wants) {
		c.wants[r] = wants[r]
	}
	c.w.decided(c, before, next, effects)
	for _, eff := range effects {
		if _, done := eff.(rollout.Decide); done {
			continue
		}
		if !slices.ContainsFunc(c.queue, func(q rollout.Effect) bool { return q.ID() == eff.ID() }) {
			c.queue = append(c.queue, eff)
		}
	}
	c.pump()
	return true
}

// pump carries out effects, one after the other, the journal always first.
func (c *controller) pump() {
	if c.pumping || !c.leading {
		return
	}
	c.pumping = true
	c.later(c.luck.between(time.Millisecond, 10*time.Millisecond), c.pumpOne)
}

func (c *controller) pumpOne() {
	c.pumping = false
	if len(c.queue) == 0 {
		c.ended(c.publish())
		return
	}
	eff := c.queue[0]
	c.queue = c.queue[1:]
	switch e := eff.(type) {
	case rollout.Publish:
		v, fence, link := c.wants[e.Region], c.fence, c.links // a term that begins later has more to publish first
		if err := c.publish(); err != nil {
			c.again(eff, err)
			return
		}
		c.pumping = true
		waits := c.luck.between(0, 10*time.Millisecond)
		if c.w.strikes(faultSlow, 20, e.Region) {
			waits = c.luck.between(0, 5*time.Second) // a connection that does not answer
		}
		c.later(waits, func() {
			c.pumping = false
			switch {
			case v.doc == nil:
			case fence != c.fence:
				c.again(eff, errFenced)
				return
			case link != c.links:
				c.again(eff, errCut)
				return
			default:
				if err := c.w.bus.putWant(c, e.Region, v.doc); err != nil {
					c.again(eff, err)
					return
				}
			}
			c.pump()
		})
	case rollout.Measure:
		c.measure(e)
		c.pump()
	case rollout.Purge:
		if err := c.publish(); err != nil {
			c.again(eff, err)
			return
		}
		c.purge(e)
		c.pump()
	default:
		c.pump()
	}
}

// again repeats an effect that failed.
func (c *controller) again(eff rollout.Effect, err error) {
	if !slices.ContainsFunc(c.queue, func(q rollout.Effect) bool { return q.ID() == eff.ID() }) {
		c.queue = append(c.queue, eff)
	}
	c.ended(err)
}

func (c *controller) ended(err error) {
	switch {
	case errors.Is(err, errFenced) && !c.hold():
	case err != nil:
		c.pumping = true
		c.later(time.Second, func() { c.pumping = false; c.pump() })
	}
}
