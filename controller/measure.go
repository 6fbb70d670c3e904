package controller

import (
	"context"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

// measure reads a gate in the background and tells the engine what it says, or why it says
// nothing. An answer that is lost is asked for again.
func (c *Controller) measure(ctx context.Context, e rollout.Measure) {
	c.followers.Go(func() {
		m := rollout.Measured{Now: time.Now().UTC(), Region: e.Region, Epoch: e.Epoch, Gate: e.Gate.Name, Round: e.Round, Error: "no gates are configured"}
		_, err := inLoop(ctx, c, func() (struct{}, error) { return struct{}{}, c.step(e.App, m) })
		if err != nil && ctx.Err() == nil {
			c.log.Warn("a gate's answer could not be taken in", "effect", e.ID(), "error", err)
		}
	})
}
