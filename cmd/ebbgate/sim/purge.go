package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

// purge follows a purge to its end: accepted, accepted again when what was on its way has
// arrived, verified.
func (c *controller) purge(e rollout.Purge) {
	if c.following[e.ID()] {
		return
	}
	c.following[e.ID()] = true
	c.w.log("%s follows %s from %d", c.name, e.ID(), len(e.From))
	c.ask(e)
}

func (c *controller) ask(e rollout.Purge) {
	if c.outbox[e.ID()] == 2 {
		c.later(c.w.between(50*time.Millisecond, time.Second), func() {
			delete(c.following, e.ID())
			c.step(rollout.PurgeVerified{Now: c.w.now, Region: e.Region, Epoch: e.Epoch, Round: e.Round})
		})
		return
	}
	wait := c.w.between(50*time.Millisecond, time.Second)
	if c.w.strikes(faultCDNSlow, 4) {
		wait = c.w.between(5*time.Second, 150*time.Second)
	}
	c.later(wait, func() {
		switch {
		case c.w.strikes(faultCDNFail, 3):
			c.later(c.w.between(time.Second, 30*time.Second), func() { c.ask(e) })
			return
		case c.w.strikes(faultCDNRefuse, 12):
			delete(c.following, e.ID())
			c.step(rollout.PurgeFailed{Now: c.w.now, Region: e.Region, Epoch: e.Epoch, Round: e.Round, Reason: "refused"})
			return
		}
		c.w.purge(e)
		c.outbox[e.ID()]++
		c.w.purgeDone(e, c.outbox[e.ID()])
		c.later(c.w.caches[e.Region].fetch, func() { c.ask(e) })
	})
}
