package membus

import (
	"context"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/feed"
)

const feedDepth = 16

// client is one connection. Its fields are guarded by the bus.
type client struct {
	bus  *Bus
	name string

	feeds      map[*feed.Feed]string // feed → subject
	cut        bool
	closed     bool
	connection uint64          // how often it was connected
	link       context.Context // of the connection, done without one
	unlink     context.CancelFunc
	announced  uint64 // announcements so far, for their fate
	written    uint64 // writes so far, for their fate
}

func (b *Bus) connect(name string) *client {
	b.mu.Lock()
	old := b.clients[name]
	b.mu.Unlock()
	if old != nil {
		old.Close()
	}
	c := &client{bus: b, name: name, feeds: map[*feed.Feed]string{}, connection: 1}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.closed = b.closed
	b.clients[name] = c
	if c.link, c.unlink = context.WithCancel(context.Background()); c.up() != nil {
		c.unlink()
	}
	return c
}

// Linked returns a context that ends with the connection.
func (c *client) Linked() context.Context {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	return c.link
}

// up reports [wire.ErrDisconnected] while there is no connection. The caller holds mu.
func (c *client) up() error {
	if c.closed || c.cut || c.bus.down {
		return wire.ErrDisconnected
	}
	return nil
}

func (c *client) listens(subject string) bool {
	for _, s := range c.feeds {
		if s == subject {
			return true
		}
	}
	return false
}

// deliver hands an announcement to the feeds of its subject. The caller holds mu.
func (c *client) deliver(subject string, data []byte) {
	if c.up() != nil {
		return
	}
	for f, s := range c.feeds {
		if s == subject {
			f.Push(append([]byte{}, data...))
		}
	}
}

func (c *client) listen(subject string, f func([]byte)) (stop func(), err error) {
	d := feed.New(feedDepth, f)
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.closed {
		d.Stop()
		return nil, wire.ErrDisconnected
	}
	c.feeds[d] = subject
	if c.up() == nil {
		d.Missed()
	}
	return func() {
		c.bus.mu.Lock()
		delete(c.feeds, d)
		c.bus.mu.Unlock()
		d.Stop()
	}, nil
}

// Close ends the connection and waits for its readers.
func (c *client) Close() {
	c.bus.mu.Lock()
	c.closed = true
	c.unlink()
	if c.bus.clients[c.name] == c {
		delete(c.bus.clients, c.name)
	}
	feeds := c.feeds
	c.feeds = map[*feed.Feed]string{}
	c.bus.signal()
	c.bus.mu.Unlock()
	for f := range feeds {
		f.Stop()
	}
}
