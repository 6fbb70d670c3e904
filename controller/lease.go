package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Times of the lease. The sum of silence and one beat is how long a fleet has no
// leader after one dies; what keeps two leaders apart is the fence, not these.
const (
	leaseBeat    = 2 * time.Second
	leaseSilence = 10 * time.Second
)

// lead waits until this controller may lead and takes the lease. It may at once when it
// held the lease before (a restart) or nobody did; else after the holder has been
// silent for long enough.
func (c *Controller) lead(ctx context.Context, standby func(holder string)) (wire.Fence, error) {
	bus, self := c.cfg.Bus, c.name
	var mu sync.Mutex // guards heard
	heard := time.Now()
	stop, err := bus.Heartbeats(func(string, wire.Fence) {
		mu.Lock()
		defer mu.Unlock()
		heard = time.Now()
	})
	if err != nil {
		return 0, fmt.Errorf("cannot listen for the leader: %w", err)
	}
	defer stop()
	for {
		holder, seen, err := bus.Lease(ctx)
		mu.Lock()
		silent := time.Since(heard)
		mu.Unlock()
		if err == nil && (holder == "" || holder == self || silent >= c.cfg.silence) {
			fence, err := bus.TakeLease(ctx, self, seen)
			if err == nil {
				return fence, nil
			}
			if !errors.Is(err, wire.ErrNoLease) && ctx.Err() == nil {
				standby("")
			}
		} else if err == nil {
			standby(holder)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(min(leaseBeat, c.cfg.silence) / 2):
		}
	}
}

// beat tells standbys that the leader lives until ctx ends, and returns [ErrDeposed]
// when the lease has moved on.
func beat(ctx context.Context, bus wire.ControllerBus, self string, fence wire.Fence) error {
	tick := time.NewTicker(leaseBeat)
	defer tick.Stop()
	for {
		_ = bus.Heartbeat(self, fence) // a lost beat is what the silence allows for
		if _, now, err := bus.Lease(ctx); err == nil && now != fence {
			return fmt.Errorf("%w: the lease is at %d, ours was %d", ErrDeposed, now, fence)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
