package sim

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// record is a journal record with its place in time.
type record struct {
	term, revision uint64
	value          any
}

func (r record) newer(than record) bool {
	return r.term > than.term || r.term == than.term && r.revision > than.revision
}

// want is the desired document of a region with the orders it says.
type want struct {
	doc   *document
	above uint64 // without doc: the next sequence is above this
}

func (v want) sequence() uint64 {
	if v.doc != nil {
		return v.doc.sequence
	}
	return v.above
}

// Times of the lease, as the real controller's.
const (
	leaseBeat    = 2 * time.Second
	leaseSilence = 10 * time.Second
	lost         = 30 * time.Second
)

// controller is the shell around the rollout engine. disk and outbox survive it.
type controller struct {
	w      *world
	name   string
	disk   map[string]record
	outbox map[string]int // purge effect → how many of its two purges the cdn has accepted

	up, leading, cut bool
	life             int
	heard            time.Time // of the leader's last beat
	back             time.Time // when it was last connected, after it was not
	fence, term      uint64

	state     rollout.State
	wants     map[wire.Region]want
	reports   map[wire.AgentID]message
	queue     []rollout.Effect
	dirty     map[string]bool
	following map[string]bool
	pumping   bool
}

func (w *world) leader() *controller {
	for _, c := range w.ctls {
		if c.leading && !c.cut && c.fence == w.bus.fence {
			return c
		}
	}
	return nil
}

// later does something unless the controller dies before.
func (c *controller) later(d time.Duration, do func()) {
	life := c.life
	c.w.after(d, func() {
		if c.life == life {
			do()
		}
	})
}

func (c *controller) start() {
	c.up, c.heard = true, c.w.now
	c.stand()
}

func (c *controller) crash(why string) {
	if !c.up {
		return
	}
	c.w.log("%s dies: %s", c.name, why)
	c.life++
	*c = controller{w: c.w, name: c.name, disk: c.disk, outbox: c.outbox, life: c.life, cut: c.cut}
	c.w.after(c.w.between(time.Second, 30*time.Second), c.start)
}

// connect ends a cut; the bus then repeats every report.
func (c *controller) connect() {
	if !c.cut {
		return
	}
	c.cut, c.back = false, c.w.now
	if c.leading {
		c.catchReports()
		c.pump()
	}
}

// stand waits for the lease.
func (c *controller) stand() {
	b := c.w.bus
	if !c.cut && (b.holder == "" || b.holder == c.name || c.w.now.Sub(c.heard) >= leaseSilence) {
		if b.holder != "" && b.holder != c.name {
			c.w.count("lease taken over")
		}
		b.fence++
		b.holder, c.fence = c.name, b.fence
		c.lead()
		return
	}
	c.later(leaseBeat/2, c.stand)
}

func (c *controller) beat() {
	if !c.cut {
		if c.w.bus.fence != c.fence {
			c.crash("deposed")
			return
		}
		for _, other := range c.w.ctls {
			if !other.cut {
				other.heard = c.w.now
			}
		}
	}
	c.later(leaseBeat, c.beat)
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
	c.pump()
	c.later(0, c.beat)
	c.later(time.Second, c.tick)
	c.catchReports()
}

func (c *controller) catchReports() {
	for _, n := range c.w.all {
		if m, told := c.w.bus.reports[n.id]; told {
			c.later(c.w.between(time.Millisecond, 500*time.Millisecond), func() { c.observe(m) })
		}
	}
}

func (c *controller) reconcile() {
	c.term = c.fence
	remote := c.w.bus.journal
	for _, key := range wire.Keys(c.disk) {
		c.term = max(c.term, c.disk[key].term+1)
		if _, there := remote[key]; !there {
			c.dirty[key] = true
		}
	}
	for _, key := range wire.Keys(remote) {
		c.term = max(c.term, remote[key].term+1)
		switch ours := c.disk[key]; {
		case remote[key].newer(ours):
			c.disk[key] = remote[key]
		case ours.newer(remote[key]):
			c.dirty[key] = true
		}
	}
}

func (c *controller) load() {
	c.state = rollout.State{Record: rollout.Record{App: app}, Lost: wire.Duration(lost)}
	for _, key := range wire.Keys(c.disk) {
		switch v := c.disk[key].value.(type) {
		case []byte:
			var r rollout.Record
			if err := json.Unmarshal(v, &r); err != nil {
				c.w.fail("a record cannot be read: %v", err)
			}
			c.state.Record = r
		case want:
			c.wants[wire.Region(strings.TrimPrefix(key, "want."))] = v
		}
	}
}

func (c *controller) members(r wire.Region) rollout.Members {
	e := rollout.Members{Now: c.w.now, Region: r}
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
	if o.Base == nil && o.Next == nil || last.doc != nil && reflect.DeepEqual(last.doc.order, o) {
		return last, false
	}
	next := want{doc: &document{last.sequence() + 1, o}}
	put["want."+string(r)] = next
	return next, true
}

// commit makes values durable, all or none; false: the controller died before or after.
func (c *controller) commit(put map[string]any) bool {
	if c.w.strikes(faultCommit, 60) {
		c.crash("before a commit")
		return false
	}
	for _, key := range wire.Keys(put) {
		c.disk[key] = record{c.term, c.disk[key].revision + 1, put[key]}
		c.dirty[key] = true
	}
	if c.w.strikes(faultCommit, 60) {
		c.crash("after a commit")
		return false
	}
	return true
}

func (c *controller) tick() {
	if c.step(rollout.Tick{Now: c.w.now}) {
		c.later(time.Second, c.tick)
	}
}

func (c *controller) observe(m message) {
	old, known := c.reports[m.agent]
	if known && (m.incarnation < old.incarnation || m.incarnation == old.incarnation && m.sequence <= old.sequence) {
		return
	}
	c.reports[m.agent] = m
	c.step(rollout.Reported{
		Now: c.w.now, Region: c.w.byID[m.agent].region, Agent: m.agent, Stored: m.stored,
		Incarnation: m.incarnation, Sequence: m.sequence, Desired: m.desired, Report: m.report,
	})
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
	c.later(c.w.between(time.Millisecond, 10*time.Millisecond), c.pumpOne)
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
		v := c.wants[e.Region]
		if err := c.publish(); err != nil {
			c.again(eff, err)
			return
		}
		c.pumping = true
		c.later(c.w.between(0, 10*time.Millisecond), func() {
			c.pumping = false
			if v.doc != nil {
				if err := c.w.bus.putWant(c, e.Region, v.doc); err != nil {
					c.again(eff, err)
					return
				}
			}
			c.pump()
		})
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
	case errors.Is(err, errFenced):
		c.crash("deposed")
	case err != nil:
		c.pumping = true
		c.later(time.Second, func() { c.pumping = false; c.pump() })
	}
}

// publish copies the journal to the bus, record by record.
func (c *controller) publish() error {
	for _, key := range wire.Keys(c.dirty) {
		if err := c.w.bus.write(c, "journal "+key); err != nil {
			return err
		}
		c.w.bus.journal[key] = c.disk[key]
		delete(c.dirty, key)
	}
	return nil
}
