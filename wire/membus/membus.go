// Package membus is the bus of a fleet in memory, with faults on purpose. It stands in
// for NATS where time is virtual, which a real server does not survive, and where a
// test wants the same bad luck twice.
//
// Faults hit what a bus may break: announcements are dropped, doubled and delayed past
// each other, the answer to a stored write is lost, anybody is cut off. What is stored
// stays stored. Each fate is a function of the seed, the client and how many of its kind
// came before, so that it does not depend on the order in which goroutines run.
package membus

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Config says which faults to expect. The zero Config is a bus without any.
type Config struct {
	Seed uint64
	// Drop, Duplicate and Delay are how likely an announcement to an agent is lost,
	// doubled, or late by up to MaxDelay, each from 0 to 1.
	Drop, Duplicate, Delay float64
	// MaxDelay is required with Delay. Later announcements overtake a late one.
	MaxDelay time.Duration
	// LoseAck is how likely a write or a report is stored and yet fails with
	// [wire.ErrDisconnected].
	LoseAck float64
}

func (c Config) validate() error {
	for _, p := range []struct {
		field string
		value float64
	}{{"drop", c.Drop}, {"duplicate", c.Duplicate}, {"delay", c.Delay}, {"lose ack", c.LoseAck}} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("memory bus: %s: %v is no probability", p.field, p.value)
		}
	}
	if c.MaxDelay < 0 || c.Delay > 0 && c.MaxDelay == 0 {
		return fmt.Errorf("memory bus: max delay: %v, want more than 0", c.MaxDelay)
	}
	return nil
}

// message is what a subject holds.
type message struct {
	seq  uint64
	data []byte
	at   time.Time
}

// Bus is one bus with everything that is stored on it.
type Bus struct {
	cfg Config

	mu      sync.Mutex // guards all below, and the fields of every client
	seq     uint64
	stored  map[string]message // subject → last message
	clients map[string]*client // name → client
	down    bool
	changed chan struct{} // closed and replaced when a report, the connection or the context of a reader changes
	late    map[*time.Timer]struct{}
	closed  bool
}

// New returns an empty bus.
func New(cfg Config) (*Bus, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Bus{
		cfg: cfg, stored: map[string]message{}, clients: map[string]*client{},
		changed: make(chan struct{}), late: map[*time.Timer]struct{}{},
	}, nil
}

// Agent connects an agent. An agent of the same name that is connected is closed.
func (b *Bus) Agent(id wire.AgentID) wire.AgentBus {
	return &agentBus{b.connect("agent/" + string(id))}
}

// Controller connects a controller. One of the same name that is connected is closed.
func (b *Bus) Controller(name string) wire.ControllerBus {
	return &controllerBus{b.connect("controller/" + name)}
}

// DisconnectAgent cuts an agent off until [Bus.ReconnectAgent].
func (b *Bus) DisconnectAgent(id wire.AgentID) { b.cut("agent/"+string(id), true) }

// ReconnectAgent undoes [Bus.DisconnectAgent].
func (b *Bus) ReconnectAgent(id wire.AgentID) { b.cut("agent/"+string(id), false) }

// DisconnectController cuts a controller off until [Bus.ReconnectController].
func (b *Bus) DisconnectController(name string) { b.cut("controller/"+name, true) }

// ReconnectController undoes [Bus.DisconnectController].
func (b *Bus) ReconnectController(name string) { b.cut("controller/"+name, false) }

// Down cuts everybody off until [Bus.Up].
func (b *Bus) Down() { b.reach(func() { b.down = true }) }

// Up undoes [Bus.Down]. Who was cut off alone stays so.
func (b *Bus) Up() { b.reach(func() { b.down = false }) }

func (b *Bus) cut(name string, cut bool) {
	b.reach(func() {
		if c := b.clients[name]; c != nil {
			c.cut = cut
		}
	})
}

// reach changes who is connected and tells those who were not before.
func (b *Bus) reach(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := map[*client]bool{}
	for _, c := range b.clients {
		was[c] = c.up() == nil
	}
	change()
	for _, name := range wire.Keys(b.clients) {
		switch c := b.clients[name]; {
		case c.up() != nil:
			c.unlink()
		case !was[c]:
			c.connection++
			c.link, c.unlink = context.WithCancel(context.Background())
			for f := range c.feeds {
				f.Missed()
			}
		}
	}
	b.signal()
}

// Keep returns a function that sets the bus back to what it stores now, as a server does
// that comes back without its last writes. Connections end: it is called while the bus is
// down, or everybody is cut off.
func (b *Bus) Keep() (setBack func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seq, stored := b.seq, maps.Clone(b.stored)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seq, b.stored = seq, maps.Clone(stored)
	}
}

// Close closes every client and forgets late announcements. It is idempotent.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	for t := range b.late {
		t.Stop()
	}
	clear(b.late)
	clients := make([]*client, 0, len(b.clients))
	for _, name := range wire.Keys(b.clients) {
		clients = append(clients, b.clients[name])
	}
	b.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
}

// signal wakes the readers of reports. The caller holds mu.
func (b *Bus) signal() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// put stores data and returns its sequence. The caller holds mu.
func (b *Bus) put(subject string, data []byte) uint64 {
	b.seq++
	b.stored[subject] = message{b.seq, append([]byte{}, data...), time.Now()}
	return b.seq
}

// fate returns the random source of the n-th event of a kind at a client.
func (b *Bus) fate(kind, name string, n uint64) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", kind, name, n)
	return rand.New(rand.NewPCG(b.cfg.Seed, h.Sum64()))
}

// announce sends data to everybody who listens to subject. The caller holds mu.
func (b *Bus) announce(subject string, data []byte) {
	for i, name := range wire.Keys(b.clients) {
		c := b.clients[name]
		if !c.listens(subject) {
			continue
		}
		c.announced++
		fate := b.fate("announcement", name, c.announced)
		dropped, times := fate.Float64() < b.cfg.Drop, 1
		if fate.Float64() < b.cfg.Duplicate {
			times = 2
		}
		for range times {
			late, delay := fate.Float64() < b.cfg.Delay, fate.Float64()
			switch {
			case dropped:
			case late:
				// Two timers never share a deadline: which fires first must not depend on luck.
				wait := time.Duration(delay*float64(b.cfg.MaxDelay)) + time.Duration(i+1)
				b.deliverLate(c, subject, data, wait)
			default:
				c.deliver(subject, data)
			}
		}
	}
}

func (b *Bus) deliverLate(c *client, subject string, data []byte, wait time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.late, t)
		if !b.closed {
			c.deliver(subject, data)
		}
	})
	b.late[t] = struct{}{}
}

// lost reports whether the answer to a stored write is lost. The caller holds mu.
func (c *client) lost() error {
	c.written++
	if c.bus.fate("ack", c.name, c.written).Float64() < c.bus.cfg.LoseAck {
		return fmt.Errorf("the answer was lost: %w", wire.ErrDisconnected)
	}
	return nil
}

// begin takes the lock for an operation of c, unless it cannot take place.
func (c *client) begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.bus.mu.Lock()
	if err := c.up(); err != nil {
		c.bus.mu.Unlock()
		return nil, err
	}
	return c.bus.mu.Unlock, nil
}
