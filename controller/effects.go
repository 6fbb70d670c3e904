package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// effectQueue holds effects that are journaled and not yet carried out, in order, each
// once. The zero value is ready.
type effectQueue struct {
	mu      sync.Mutex // guards all below
	waiting []rollout.Effect
	ids     map[string]bool // of those that wait
}

func (q *effectQueue) add(effects ...rollout.Effect) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ids == nil {
		q.ids = make(map[string]bool)
	}
	for _, e := range effects {
		if _, done := e.(rollout.Decide); done {
			continue // committed together with the record
		}
		if id := e.ID(); !q.ids[id] {
			q.ids[id] = true
			q.waiting = append(q.waiting, e)
		}
	}
}

func (q *effectQueue) next() (rollout.Effect, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil, false
	}
	e := q.waiting[0]
	q.waiting = q.waiting[1:]
	delete(q.ids, e.ID())
	return e, true
}

// retryEffects is how long to wait after the bus has refused something.
const retryEffects = time.Second

// pump copies the journal to the bus and then carries out the effects behind it, one
// after the other, again until each has succeeded. It returns [ErrDeposed] when another
// controller leads.
func (c *Controller) pump(ctx context.Context) error {
	c.wake()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.work:
		}
		err := c.carryOut(ctx)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrDeposed):
			return err
		case errors.Is(err, wire.ErrFenced):
			if held := c.hold(ctx); errors.Is(held, ErrDeposed) {
				return held
			}
		}
		c.log.Warn("an effect failed and will be repeated", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEffects):
			c.wake()
		}
	}
}

// carryOut empties the queue. The journal always goes first: what agents and CDNs are told
// must never be ahead of what a successor can know.
func (c *Controller) carryOut(ctx context.Context) error {
	for {
		linked, unlink, err := c.meet(ctx)
		if err != nil {
			return err
		}
		effect, more := c.queue.next()
		if more {
			err = c.perform(ctx, linked, effect)
		} else {
			err = c.publish(linked)
		}
		unlink()
		if err != nil && more {
			c.queue.add(effect)
		}
		if err != nil || !more {
			return err
		}
	}
}

// meet looks at a bus before anything is written to it over a new connection. A server that
// comes back may lack its last writes: then an order would be there without the record that
// it follows from, and the number of a fence may be another controller's. It returns a
// context for writes, which ends with the connection.
func (c *Controller) meet(ctx context.Context) (linked context.Context, unlink func(), err error) {
	link := c.cfg.Bus.Linked()
	if link != c.met {
		if err := c.hold(ctx); err != nil {
			return nil, nil, err
		}
		if err := c.findLosses(ctx); err != nil {
			return nil, nil, err
		}
		c.met = link
	}
	linked, cancel := context.WithCancel(link) // of the link: a child ends before the next connection begins
	forget := context.AfterFunc(ctx, cancel)
	return linked, func() { forget(); cancel() }, nil
}

// publish copies the journal to the bus, and then tells the readers of events what happened: they
// hear nothing of what a leader decides that was replaced without knowing it.
func (c *Controller) publish(linked context.Context) error {
	began, head := time.Now(), c.feed.head() // before: what is decided meanwhile may not have been copied
	if err := c.journal.publish(linked, c.cfg.Bus); err != nil {
		return err
	}
	if c.Sure() == nil { // with nothing to publish the bus was not asked who leads
		c.feed.tell(head)
		c.published.Store(&began)
	}
	return nil
}

// perform carries out one effect; linked is for what it writes to the bus.
func (c *Controller) perform(ctx, linked context.Context, effect rollout.Effect) error {
	fence := c.journal.lease() // before the journal: a term that begins later has more to publish first
	switch e := effect.(type) {
	case rollout.Publish:
		// Read before the journal is published, so that what it follows from is too.
		w, err := inLoop(ctx, c, func() (want, error) { return c.wants[e.Region], nil })
		if err != nil {
			return err
		}
		if err := c.publish(linked); err != nil {
			return err
		}
		if len(w.Envelope) == 0 {
			return nil // nothing has ever been ordered here
		}
		c.cfg.trace("journal published")
		if err := c.cfg.Bus.PutWant(linked, fence, e.Region, w.Envelope); err != nil {
			return fmt.Errorf("cannot order region %s: %w", e.Region, err)
		}
		c.cfg.trace("ordered")
		return nil
	case rollout.Measure:
		c.measure(ctx, e)
		return nil
	case rollout.Purge:
		if err := c.publish(linked); err != nil {
			return err
		}
		if err := c.Sure(); err != nil { // with nothing to publish the bus was not asked who leads
			return err
		}
		c.cfg.trace("purge journaled")
		return c.purge(ctx, e)
	default:
		return fmt.Errorf("effect %s is of an unknown kind", effect.ID())
	}
}
