package controller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Times of the lease. The sum of silence and one beat is how long a fleet has no
// leader after one dies; what keeps two leaders apart is the fence, not these.
const (
	leaseBeat    = 2 * time.Second
	leaseSilence = 10 * time.Second
	// leaseDoubt is for how long a leader that the bus does not answer still takes commands.
	// It is below leaseSilence: who may have been replaced promises nothing any more.
	leaseDoubt = 3 * leaseBeat
)

// lead waits until this controller may lead and takes the lease. It may at once when it
// held the lease before (a restart) or nobody did; else after the holder has been
// silent for long enough. Only time in which the bus answered counts as silence: whoever
// is cut off hears nothing of a leader that is well. Meanwhile the journal is copied.
func (c *Controller) lead(ctx context.Context, standby func(holder string)) (wire.Fence, error) {
	bus, self := c.cfg.Bus, c.name
	var heard atomic.Bool // since the last look
	stop, err := bus.Heartbeats(func(string, wire.Fence) { heard.Store(true) })
	if err != nil {
		return 0, fmt.Errorf("cannot listen for the leader: %w", err)
	}
	defer stop()
	every := min(leaseBeat, c.cfg.silence) / 2
	var silent time.Duration
	last, copied := time.Now(), time.Time{}
	for {
		holder, seen, err := bus.Lease(ctx)
		now := time.Now()
		if silent += min(now.Sub(last), 2*every); err != nil || heard.Swap(false) {
			silent = 0
		}
		last = now
		if err == nil && (holder == "" || holder == self || silent >= c.cfg.silence) {
			asked := time.Now()
			fence, err := bus.TakeLease(ctx, self, seen)
			if err == nil {
				c.confirmed.Store(&asked)
				return fence, nil
			}
			if !errors.Is(err, wire.ErrNoLease) && ctx.Err() == nil {
				standby("")
			}
		} else if err == nil {
			standby(holder)
			if now.Sub(copied) >= leaseBeat {
				copied = now
				if err := c.journal.follow(ctx, bus); err != nil && ctx.Err() == nil {
					c.log.Warn("the leader's journal could not be copied", "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(every):
		}
	}
}

// beat tells standbys that the leader lives until ctx ends, and returns [ErrDeposed]
// when the lease has moved on. It notes when the bus last said that the lease is ours.
func (c *Controller) beat(ctx context.Context, fence wire.Fence) error {
	tick := time.NewTicker(leaseBeat)
	defer tick.Stop()
	for {
		_ = c.cfg.Bus.Heartbeat(c.name, fence) // a lost beat is what the silence allows for
		asked := time.Now()
		if _, now, err := c.cfg.Bus.Lease(ctx); err == nil {
			if now != fence {
				return fmt.Errorf("%w: the lease is at %d, ours was %d", ErrDeposed, now, fence)
			}
			c.confirmed.Store(&asked)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sure refuses while the bus has not said for too long that the lease is ours: another
// controller may lead, and what is decided here would be lost.
func (c *Controller) sure() error {
	if confirmed := c.confirmed.Load(); confirmed == nil || time.Since(*confirmed) > leaseDoubt {
		return fmt.Errorf("%w: cannot confirm that this controller still leads: the bus has not answered for %s", ErrStandby, leaseDoubt)
	}
	return nil
}
