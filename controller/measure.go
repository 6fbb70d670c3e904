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

const (
	// maxReadings is how many readings one source is asked for at the same time.
	maxReadings = 16
	// turnTime bounds the wait for one's turn. With the time a source takes to answer, it
	// stays below what the engine waits before it asks again.
	turnTime = 10 * time.Second
)

// readings keeps one source that hangs from holding up the readings of others.
type readings struct {
	mu   sync.Mutex               // guards turns
	busy map[string]chan struct{} // source → capacity maxReadings
}

// turn waits for a turn at a source and returns what ends it.
func (r *readings) turn(ctx context.Context, source string) (func(), error) {
	r.mu.Lock()
	if r.busy == nil {
		r.busy = make(map[string]chan struct{})
	}
	if r.busy[source] == nil {
		r.busy[source] = make(chan struct{}, maxReadings)
	}
	busy := r.busy[source]
	r.mu.Unlock()
	select {
	case busy <- struct{}{}:
		return func() { <-busy }, nil
	case <-time.After(turnTime):
		return nil, fmt.Errorf("%d other readings are still under way after %s", maxReadings, turnTime)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// measure reads a gate in the background and tells the engine what it says, or why it says
// nothing. An answer that gets lost, with this controller or otherwise, is asked for again by
// the engine.
func (c *Controller) measure(ctx context.Context, e rollout.Measure) {
	if _, twice := c.following.LoadOrStore(e.ID(), true); twice {
		return
	}
	c.followers.Go(func() {
		defer c.following.Delete(e.ID())
		m, err := c.read(ctx, e)
		if ctx.Err() != nil {
			return // whoever leads next asks again
		}
		if err != nil {
			m = rollout.Measured{Error: wire.Clip(err.Error())}
		}
		m.Region, m.Epoch, m.Gate, m.Round = e.Region, e.Epoch, e.Gate.Name, e.Round
		_, err = inLoop(ctx, c, func() (struct{}, error) {
			m.Now = time.Now().UTC()
			return struct{}{}, c.step(e.App, m)
		})
		if err != nil && ctx.Err() == nil {
			c.log.Warn("a gate's answer could not be taken in", "effect", e.ID(), "error", err)
		}
	})
}

func (c *Controller) read(ctx context.Context, e rollout.Measure) (rollout.Measured, error) {
	source, _ := c.cfg.Gates.of(e.Gate)
	if source == nil {
		return rollout.Measured{}, errors.New("the controller's configuration does not have it any more")
	}
	done, err := c.readings.turn(ctx, e.Gate.Prometheus+"/"+e.Gate.Webhook)
	if err != nil {
		return rollout.Measured{}, err
	}
	defer done()
	return source.Read(ctx, e)
}
