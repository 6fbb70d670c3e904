package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// purge follows a purge to its end: accepted, accepted again when what was on its way has
// arrived, verified.
func (c *controller) purge(e rollout.Purge) {
	if c.following[e.ID()] {
		return
	}
	c.following[e.ID()] = true
	c.w.log("%s follows %s from %d", c.name, e.ID(), len(e.From))
	// What was on its way at the first purge is waited for by whoever goes on with it.
	c.later(max(0, c.outbox[e.ID()].last.Add(c.w.caches[e.Region].fetch).Sub(c.w.now)), func() { c.ask(e) })
}

func (c *controller) ask(e rollout.Purge) {
	if c.outbox[e.ID()].times == 2 {
		c.later(c.luck.between(50*time.Millisecond, time.Second), func() {
			if c.fails(e) { // whoever looks is not answered
				c.step(rollout.PurgeUnverified{Now: c.clock(), Region: e.Region, Epoch: e.Epoch, Round: e.Round, Reason: "no answer"})
				return
			}
			delete(c.following, e.ID())
			c.verified(e)
			if c.w.strikes(faultRepeat, 3, e.Region) {
				c.later(c.luck.between(0, 20*time.Second), func() { c.verified(e) })
			}
		})
		return
	}
	c.later(c.luck.between(50*time.Millisecond, time.Second), func() {
		if c.w.strikes(faultCDNSlow, c.w.odds(e.Region, 3, 1), e.Region) {
			most := 150 * time.Second
			if c.w.moves(e.Region) {
				most = 15 * time.Second
			}
			c.later(c.luck.between(5*time.Second, most), func() { c.answered(e) })
			return
		}
		c.answered(e)
	})
}

func (c *controller) verified(e rollout.Purge) {
	c.step(rollout.PurgeVerified{Now: c.clock(), Region: e.Region, Epoch: e.Epoch, Round: e.Round})
}

// answered is how the cdn answers a purge.
func (c *controller) answered(e rollout.Purge) {
	switch {
	case c.w.strikes(faultCDNRefuse, c.w.odds(e.Region, 6, 6), e.Region):
		delete(c.following, e.ID())
		c.step(rollout.PurgeFailed{Now: c.clock(), Region: e.Region, Epoch: e.Epoch, Round: e.Round, Reason: "refused"})
		return
	case c.fails(e):
		return
	}
	c.w.purge(e)
	c.outbox[e.ID()] = accepted{c.outbox[e.ID()].times + 1, c.w.now}
	c.w.purgeDone(e, c.outbox[e.ID()].times)
	c.later(c.w.caches[e.Region].fetch, func() { c.ask(e) })
}

// fails reports whether the cdn fails for a while, after which it is asked again.
func (c *controller) fails(e rollout.Purge) bool {
	if !c.w.strikes(faultCDNFail, c.w.odds(e.Region, 3, 2), e.Region) {
		return false
	}
	most := 30 * time.Second
	if c.w.moves(e.Region) {
		most = 5 * time.Second
	}
	c.later(c.luck.between(time.Second, most), func() { c.ask(e) })
	return true
}

// moves reports whether agents of the region switch, or prepare to. It is seldom purged then.
func (w *world) moves(r wire.Region) bool {
	switch w.phase[r] {
	case rollout.PhaseArming, rollout.PhaseActivating, rollout.PhaseRetreating, rollout.PhaseReverting:
		return true
	}
	return false
}

// odds are once in how many times a fault of the cdn strikes: surer where the region moves,
// and rest times where it is at rest.
func (w *world) odds(r wire.Region, n, rest int) int {
	switch p := w.phase[r]; {
	case p == rollout.PhasePurging, p == rollout.PhaseRepurging, p == rollout.PhaseBaking:
		return n
	case p == rollout.PhaseRetreating:
		return 1
	case w.moves(r):
		return n / 2
	}
	return rest
}
