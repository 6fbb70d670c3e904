package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// unsyncedFor is how old a write may be that a bus has not synced.
const unsyncedFor = 10 * time.Second

// restart lets the bus die and come back after d with what it has on its disk. It reports
// whether it was there to die.
func (b *bus) restart(d time.Duration) bool {
	if b.down {
		return false
	}
	b.w.log("the bus dies")
	b.down = true
	b.life++
	b.w.after(d, b.up)
	return true
}

// up brings it back, and everybody's connection with it.
func (b *bus) up() {
	if !b.down {
		return
	}
	b.w.log("the bus is back: %s holds the lease at %d", b.holder, b.fence)
	b.down = false
	b.w.reconnect(b.w.all)
	for _, c := range b.w.ctls {
		c.reconnected()
	}
}

// loseTail lets it die with the last writes of up to unsyncedFor not on its disk.
func (b *bus) loseTail(l luck) {
	since := b.w.now.Add(-l.between(time.Second, unsyncedFor))
	if b.missing || !b.w.copied() || !b.restart(l.between(100*time.Millisecond, 10*time.Second)) {
		return
	}
	b.w.hit(faultTail)
	lost := 0
	for n := len(b.unsynced); n > 0 && b.unsynced[n-1].at.After(since); n-- {
		b.unsynced[n-1].undo()
		b.unsynced = b.unsynced[:n-1]
		lost++
	}
	b.w.log("the bus has lost %d changes of the last %s", lost, b.w.now.Sub(since))
}

// wipe empties it.
func (b *bus) wipe(l luck) {
	if b.missing || !b.w.copied() || !b.restart(l.between(100*time.Millisecond, 10*time.Second)) {
		return
	}
	b.w.hit(faultWipe)
	b.w.log("the bus is wiped")
	b.clear()
	b.missing = true
}

// copied reports whether every controller has all that was ever published: whoever leads
// first after the bus was wiped restores what it knows, and nobody can know what only the
// lost one did.
func (w *world) copied() bool {
	for _, key := range wire.Keys(w.bus.newest) {
		for _, c := range w.ctls {
			if w.bus.newest[key].replaces(c.disk[key]) {
				return false
			}
		}
	}
	return true
}

// whole reports whether the bus has it.
func (b *bus) whole() bool {
	for _, key := range wire.Keys(b.newest) {
		if b.newest[key].replaces(b.journal[key]) {
			return false
		}
	}
	return true
}
