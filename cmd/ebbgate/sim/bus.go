package sim

import (
	"errors"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// document is a desired document as signed. Nobody changes it.
type document struct {
	sequence uint64
	order    wire.Order
}

// message is a report as the bus keeps it.
type message struct {
	agent                 wire.AgentID
	incarnation, sequence uint64
	desired               uint64
	stored                time.Time
	report                wire.AppReport
}

var (
	errFenced = errors.New("the lease has moved on")
	errCut    = errors.New("no connection")
)

// bus keeps the last value of everything and checks fences, as the real ones do. What it
// announces may be lost, late, repeated and out of order; what it stores is not.
type bus struct {
	w       *world
	holder  string
	fence   uint64
	journal map[string]record
	wants   map[wire.Region]*document
	reports map[wire.AgentID]message
	cut     map[wire.Region]bool // from the region's agents
	wrote   uint64               // highest fence that ever wrote
}

// write checks a controller's fence.
func (b *bus) write(c *controller, what string) error {
	switch {
	case c.cut:
		return errCut
	case c.fence != b.fence:
		b.w.count("write under an old fence refused")
		b.w.log("%s: %s refused: fence %d, the lease is at %d", c.name, what, c.fence, b.fence)
		return errFenced
	}
	if c.fence < b.wrote {
		b.w.fail("%s wrote %s under fence %d after %d", c.name, what, c.fence, b.wrote)
	}
	b.wrote = c.fence
	return nil
}

func (b *bus) putWant(c *controller, r wire.Region, d *document) error {
	if err := b.write(c, "want "+string(r)); err != nil {
		return err
	}
	old := b.wants[r]
	if old != nil && (d.sequence < old.sequence || d.sequence == old.sequence && d != old) {
		b.w.fail("%s put document %d of %s after %d", c.name, d.sequence, r, old.sequence)
	}
	b.w.ordered(r, d.order)
	b.wants[r] = d
	for _, n := range b.w.nodes[r] {
		if b.w.strikes(faultDrop, 4) {
			continue
		}
		times := 1
		if b.w.strikes(faultRepeat, 10) {
			times = 2
		}
		for range times {
			b.w.after(b.latency(), func() {
				if n.online() {
					n.hear(d)
				}
			})
		}
	}
	return nil
}

// latency draws how long a message takes.
func (b *bus) latency() time.Duration {
	if b.w.strikes(faultSlow, 10) {
		return b.w.between(time.Second, 20*time.Second)
	}
	return b.w.between(time.Millisecond, 100*time.Millisecond)
}

// report stores what an agent says, when it arrives, and hands it on.
func (b *bus) report(m message) {
	m.stored = b.w.now
	b.reports[m.agent] = m
	times := 1
	if b.w.strikes(faultRepeat, 10) {
		times = 2
	}
	for _, c := range b.w.ctls {
		for range times {
			life := c.life
			b.w.after(b.latency(), func() {
				if c.life == life && c.leading && !c.cut {
					c.observe(m)
				}
			})
		}
	}
}
