package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// course is what one target is asked for in one attempt at a purge effect.
type course struct {
	CDNTarget
	fence, first, second []cdn.Item
}

// courses returns one attempt at a purge effect, tier by tier from the origin outwards. A second
// purge follows the first after the longest time that an answer may have been on its way, and
// not before the gap that the provider advises.
func (c *Controller) courses(e rollout.Purge, selectors []cdn.Selector, attempt int) []course {
	targets := slices.Clone(c.cfg.Regions[e.Region].CDN)
	slices.SortStableFunc(targets, func(a, b CDNTarget) int { return cmp.Compare(a.Tier, b.Tier) })
	var all []course
	for _, t := range targets {
		about := cdn.Item{
			Provider: t.Provider, Scope: t.Scope, App: string(e.App), Region: string(e.Region),
			Epoch: uint64(e.Epoch), Round: (e.Round-1)*roundsPerEffect + 2*attempt + 1,
		}
		purger := c.purger(t.Provider)
		selectors := slices.Concat(selectors, slices.SortedFunc(maps.Keys(c.owed(e, t)), cdn.Selector.Compare))
		if t.Optional { // what it cannot purge holds nobody up either
			caps := purger.Capabilities()
			selectors = slices.DeleteFunc(selectors, func(s cdn.Selector) bool { return caps.Check(s, false) != nil })
		}
		if len(selectors) == 0 {
			continue
		}
		co := course{CDNTarget: t}
		if _, can := purger.(cdn.Fencer); can && e.Epoch != runEpoch {
			raise := about
			raise.Selector = cdn.Selector{Kind: cdn.Fence, Value: generation(e).Name()}
			co.fence = []cdn.Item{raise}
		}
		for _, item := range cdn.Rounds(purger.Capabilities(), about, selectors, c.cfg.OriginFetch) {
			if item.Round == about.Round {
				co.first = append(co.first, item)
			} else {
				co.second = append(co.second, item)
			}
		}
		all = append(all, co)
	}
	return all
}

// owed returns what an optional target has not accepted of earlier purges of the app's region,
// and in which epoch it was asked last: nobody waited, and the region has gone on.
func (c *Controller) owed(e rollout.Purge, t CDNTarget) map[cdn.Selector]wire.Epoch {
	if !t.Optional || e.Epoch == runEpoch {
		return nil
	}
	caps, all := c.purger(t.Provider).Capabilities(), make(map[cdn.Selector]wire.Epoch)
	for _, entry := range c.outbox.List(cdn.Filter{Provider: t.Provider, Scope: t.Scope, App: string(e.App), Region: string(e.Region)}) {
		item := entry.Item // by epoch and round
		own := item.Epoch == uint64(e.Epoch) && item.Round > (e.Round-1)*roundsPerEffect
		if own || item.Epoch > uint64(e.Epoch) || item.Selector.Kind == cdn.Fence {
			continue
		}
		if caps.Check(item.Selector, false) == nil && (entry.State == cdn.StateRefused || entry.Open()) {
			all[item.Selector] = wire.Epoch(item.Epoch)
		} else {
			delete(all, item.Selector)
		}
	}
	return all
}

// step is one thing that is asked of one target, and how it ended.
type step struct {
	done chan struct{}
	err  error // set before done is closed
}

// before is what a step waits for.
type before struct {
	done   []*step // have to end well
	over   []*step // have to end
	should []*step // have their time to end
}

// after does something once that is behind it.
func (c *Controller) after(ctx context.Context, b before, do func() error) *step {
	s := &step{done: make(chan struct{})}
	c.followers.Go(func() {
		defer close(s.done)
		late := time.NewTimer(c.cfg.patience)
		defer late.Stop()
		for _, other := range b.should {
			select {
			case <-other.done:
			case <-late.C:
				late.Reset(0) // for all others, too
			case <-ctx.Done():
			}
		}
		for _, other := range slices.Concat(b.done, b.over) {
			select {
			case <-other.done:
			case <-ctx.Done():
			}
		}
		if s.err = ctx.Err(); s.err != nil {
			return
		}
		for _, other := range b.done {
			if s.err = other.err; s.err != nil {
				return
			}
		}
		s.err = do()
	})
	return s
}

// carryThrough has every target take its course, side by side, and returns the items that a
// proof is about: those that somebody waits for. It returns the first refusal at once; what
// can go on without that target does.
//
// A target raises its fence first, so that nothing older than the epoch is stored from then
// on, and is purged after the tiers behind it, from which it refills. Its first purge does not
// wait for ever: while something behind hangs, what it holds is stale for certain. Its second
// one does, so that what was refilled meanwhile goes, too; but not for what has refused. What an
// optional target is asked is only handed to the outbox, in the same order.
func (c *Controller) carryThrough(ctx context.Context, e rollout.Purge, courses []course) ([]cdn.ID, error) {
	var proved []cdn.ID
	var ends []*step
	type tier struct{ first, second []*step }
	var behind, same tier
	at := 0
	for _, co := range courses { // from the origin outwards
		if co.Tier != at {
			behind.first, behind.second = append(behind.first, same.first...), append(behind.second, same.second...)
			same, at = tier{}, co.Tier
		}
		ask := func(told string, items []cdn.Item) func() error {
			return func() error { return c.asked(ctx, e, co.CDNTarget, told, items) }
		}
		fence := c.after(ctx, before{}, ask("fenced", co.fence))
		first := c.after(ctx, before{should: slices.Concat([]*step{fence}, behind.first)}, ask("purged", co.first))
		second := c.after(ctx, before{done: []*step{fence, first}, over: behind.second}, ask("purged again, for what was on its way meanwhile:", co.second))
		ends = append(ends, second)
		if co.Optional {
			continue
		}
		same.first, same.second = append(same.first, first), append(same.second, second)
		for _, item := range slices.Concat(co.first, co.second) {
			proved = append(proved, item.ID())
		}
	}
	return proved, firstError(ends)
}

// firstError waits until all steps have ended well, or one has not.
func firstError(steps []*step) error {
	errs := make(chan error, len(steps))
	for _, s := range steps {
		go func() { <-s.done; errs <- s.err }()
	}
	for range steps {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// given waits a while for what optional targets were asked, and returns what they accepted.
func (c *Controller) given(ctx context.Context, courses []course) (accepted []cdn.ID) {
	var ids []cdn.ID
	gap := time.Duration(0)
	for _, co := range courses {
		for _, item := range slices.Concat(co.first, co.second) {
			ids, gap = append(ids, item.ID()), max(gap, item.Gap)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, gap+c.cfg.patience)
	defer cancel()
	entries, _ := c.outbox.Wait(ctx, ids...) // they come with the end of the wait, too
	for _, e := range entries {
		if e.State == cdn.StateAccepted || e.State == cdn.StateVerified {
			accepted = append(accepted, e.ID)
		}
	}
	return accepted
}

// asked has the items of a target stored and, unless it is optional, accepted, and tells it.
func (c *Controller) asked(ctx context.Context, e rollout.Purge, t CDNTarget, told string, items []cdn.Item) error {
	if len(items) == 0 {
		return nil
	}
	ids, err := c.submit(ctx, items)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", t.Provider, t.Scope, err)
	}
	c.cfg.trace("purge stored")
	if t.Optional {
		return nil
	}
	return c.accepted(ctx, e, told, ids)
}

// submit stores items and wakes those that an earlier attempt gave up.
func (c *Controller) submit(ctx context.Context, items []cdn.Item) ([]cdn.ID, error) {
	ids, err := c.outbox.Submit(ctx, items)
	if err != nil {
		return nil, err
	}
	return ids, c.outbox.Retry(ctx, ids...)
}

// accepted waits until the providers have accepted the items, and tells it.
func (c *Controller) accepted(ctx context.Context, e rollout.Purge, told string, ids []cdn.ID) error {
	entries, err := c.outbox.Wait(ctx, ids...)
	if err != nil {
		return err
	}
	what := make(map[string]bool) // "key:a at fastly/service"
	for _, entry := range entries {
		item := entry.Item
		if entry.State == cdn.StateRefused {
			return fmt.Errorf("%s/%s refused %s: %s", item.Provider, item.Scope, item.Selector, entry.Reason)
		}
		if entry.Skipped == "" {
			what[fmt.Sprintf("%s at %s/%s", item.Selector, item.Provider, item.Scope)] = true
		}
	}
	c.cfg.trace("purge accepted")
	if len(what) > 0 {
		c.emit(Event{App: e.App, Region: e.Region, Kind: "purge", Text: fmt.Sprintf("%s: %s %s", e.Region, told, strings.Join(slices.Sorted(maps.Keys(what)), ", "))})
	}
	return nil
}
