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
	turn                  int            // of what it serves, for the checks
	members               []wire.AgentID // whom its gossip believes alive
}

var (
	errFenced = errors.New("the lease has moved on")
	errCut    = errors.New("no connection")
)

// bus keeps the last value of everything and checks fences, as the real ones do. What it
// announces may be lost, late, repeated and out of order. What it stores is lost with its
// disk, or when it dies before it is synced.
type bus struct {
	w       *world
	down    bool
	missing bool // its streams have not been set up since it was wiped
	life    int  // what is on its way when it goes down never arrives
	cut     map[wire.Region]bool

	seq     uint64 // of the control stream
	holder  string // of the lease
	fence   uint64 // the lease's sequence
	journal map[string]record
	wants   map[wire.Region]*document
	reports map[wire.AgentID]message

	unsynced []change
	newest   map[string]record // ever published, for the checks
}

// change is a write that may be lost.
type change struct {
	at   time.Time
	undo func()
}

func newBus(w *world) *bus {
	b := &bus{w: w, missing: true, cut: map[wire.Region]bool{}, newest: map[string]record{}}
	b.clear()
	return b
}

func (b *bus) clear() {
	b.seq, b.holder, b.fence, b.unsynced = 0, "", 0, nil
	b.journal, b.wants, b.reports = map[string]record{}, map[wire.Region]*document{}, map[wire.AgentID]message{}
}

// put changes a value, for good once it is synced.
func put[K comparable, V any](b *bus, m map[K]V, key K, v V) {
	old, was := m[key]
	b.undoable(func() {
		if m[key] = old; !was {
			delete(m, key)
		}
	})
	m[key] = v
}

func (b *bus) undoable(undo func()) {
	if _, on := b.w.on[faultTail]; !on {
		return
	}
	b.unsynced = append(b.unsynced, change{b.w.now, undo})
	for len(b.unsynced) > 0 && b.w.now.Sub(b.unsynced[0].at) > unsyncedFor {
		b.unsynced = b.unsynced[1:]
	}
}

// next raises the sequence of the control stream.
func (b *bus) next() uint64 {
	old := b.seq
	b.undoable(func() { b.seq = old })
	b.seq++
	return b.seq
}

// takeLease makes c the leader.
func (b *bus) takeLease(c *controller) {
	holder, fence := b.holder, b.fence
	b.undoable(func() { b.holder, b.fence = holder, fence })
	b.holder, b.fence = c.self, b.next()
}

// write checks a controller's fence.
func (b *bus) write(c *controller, what string) error {
	switch {
	case !c.online() || b.missing:
		return errCut
	case !c.holds():
		b.w.count("write under an old fence refused")
		b.w.log("%s: %s refused: fence %d, the lease is at %d", c.name, what, c.fence, b.fence)
		return errFenced
	}
	b.next()
	return nil
}

func (b *bus) putJournal(c *controller, key string, r record) error {
	if err := b.write(c, "journal "+key); err != nil {
		return err
	}
	b.newest[key] = r
	put(b, b.journal, key, r)
	return nil
}

func (b *bus) putWant(c *controller, r wire.Region, d *document) error {
	if err := b.write(c, "want "+string(r)); err != nil {
		return err
	}
	b.w.published(c, r, d)
	put(b, b.wants, r, d)
	for _, n := range b.w.nodes[r] {
		if b.w.strikes(faultDrop, 4, r) {
			continue
		}
		times := 1
		if b.w.strikes(faultRepeat, 10, r) {
			times = 2
		}
		for range times {
			b.carry(n.luck, func() {
				if n.online() {
					n.hear(d)
				}
			}, r)
		}
	}
	return nil
}

// carry lets something arrive, unless the bus dies meanwhile.
func (b *bus) carry(l luck, arrive func(), at ...wire.Region) {
	d := l.between(time.Millisecond, 100*time.Millisecond)
	if b.w.strikes(faultSlow, 10, at...) {
		d = l.between(time.Second, 20*time.Second)
	}
	life := b.life
	b.w.after(d, func() {
		if b.life == life {
			arrive()
		}
	})
}

// report stores what an agent says, when it arrives, and hands it on.
func (b *bus) report(m message) {
	m.stored = b.w.now
	put(b, b.reports, m.agent, m)
	region := b.w.byID[m.agent].region
	times := 1
	if b.w.strikes(faultRepeat, 10, region) {
		times = 2
	}
	for _, c := range b.w.ctls {
		for range times {
			life := c.life
			b.carry(c.luck, func() {
				c.awake(life, func() {
					if c.leading && c.online() {
						c.observe(m)
					}
				})
			}, region)
		}
	}
}
