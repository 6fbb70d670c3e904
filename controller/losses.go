package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// lossEvery is how often a leader compares the bus with its own journal although its
// connection holds: of a cluster other servers may have lost what they had acknowledged.
const lossEvery = 30 * time.Second

// regain begins a term anew on a bus that has lost something: everything is copied there
// again, orders last. The caller holds c.holding.
func (c *Controller) regain(ctx context.Context, seen wire.Fence) error {
	if _, err := c.journal.lostBy(ctx, c.cfg.Bus); err != nil { // nothing of another's is overwritten
		return err
	}
	asked := time.Now()
	fence, err := c.cfg.Bus.TakeLease(ctx, c.holder(), seen)
	if errors.Is(err, wire.ErrNoLease) {
		return fmt.Errorf("%w: it took the lease that the bus had lost", ErrDeposed)
	}
	if err != nil {
		return err
	}
	if err := c.journal.begin(fence); err != nil {
		return err
	}
	c.confirm(asked)
	for _, r := range wire.Keys(c.cfg.Regions) {
		c.queue.add(rollout.Publish{Region: r})
	}
	c.wake()
	c.log.Warn("the bus has lost what it had acknowledged; all is copied there again but the content of bundles: publish those in use once more", "fence", fence)
	return nil
}

// watchBus looks for losses of the bus until ctx ends.
func (c *Controller) watchBus(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.losses)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.findLosses(ctx)
		if errors.Is(err, ErrDeposed) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			c.log.Warn("the bus could not be compared with the journal", "error", err)
		}
		if err := c.keepAll(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("manifests could not be kept", "error", err)
		}
	}
}

// findLosses compares the bus with the journal, and then its orders: of two writes that
// belong together the bus may have lost the second alone.
func (c *Controller) findLosses(ctx context.Context) error {
	lost, err := c.journal.lostBy(ctx, c.cfg.Bus)
	if err != nil {
		return err
	}
	if lost {
		return c.holdOr(ctx, func(string, wire.Fence) bool { return true })
	}
	wants, err := inLoop(ctx, c, func() (map[wire.Region]want, error) { return maps.Clone(c.wants), nil })
	if err != nil {
		return err
	}
	for _, r := range wire.Keys(wants) {
		envelope, err := c.cfg.Bus.Want(ctx, r)
		if err != nil && !errors.Is(err, wire.ErrNotFound) {
			return err
		}
		if !bytes.Equal(envelope, wants[r].Envelope) { // lost, or just on its way
			c.queue.add(rollout.Publish{Region: r})
			c.wake()
		}
	}
	return nil
}

// begin begins a term on a bus that has lost something: every record is copied there again.
func (j *journal) begin(fence wire.Fence) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fence, j.term = fence, fence
	return j.each(func(key string, r record) {
		j.rise(r)
		j.dirty[key]++
	})
}

// lostBy reports whether the bus lacks a record, or has an older one than it had
// acknowledged. It returns [ErrDeposed] if the bus has one of another controller that takes
// the place of ours: it led meanwhile, and a new term has to begin with what it decided.
func (j *journal) lostBy(ctx context.Context, bus wire.ControllerBus) (lost bool, err error) {
	acknowledged := make(map[string]record)
	err = j.clean(func(key string, r record) {
		r.Data = nil
		acknowledged[key] = r
	})
	if err != nil {
		return false, err
	}
	remote, err := bus.Journal(ctx)
	if err != nil {
		return false, fmt.Errorf("cannot read the journal from the bus: %w", err)
	}
	unpack(remote)
	other := ""
	err = j.clean(func(key string, _ record) { // what has been pruned or written meanwhile is no loss
		var theirs record
		ours, was := acknowledged[key]
		switch bad := json.Unmarshal(remote[key], &theirs) != nil; {
		case !was:
		case bad || ours.place().newer(theirs.place()):
			lost = true
		case theirs.By != j.by && theirs.replaces(ours):
			other = key
		}
	})
	if err == nil && other != "" {
		err = fmt.Errorf("%w: the bus holds %s as another one wrote it since", ErrDeposed, other)
	}
	return lost, err
}

// clean calls f with every record that the bus has acknowledged.
func (j *journal) clean(f func(key string, r record)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.each(func(key string, r record) {
		if j.dirty[key] == 0 {
			f(key, r)
		}
	})
}
