package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// stage is what is sent to the CDNs at one time; the next one waits until all of it is
// accepted.
type stage struct {
	items []cdn.Item
	loose []cdn.Item // of optional targets: sent, and waited for by nobody
	told  string     // what was done, for people
}

// stages returns one attempt at a purge effect in its order: fences first, so that nothing
// older than the epoch is stored from then on; then the targets tier by tier, those nearest
// to the origin first, since a tier refills from the one behind it; then all tiers once
// more, after the longest time that an answer may have been on its way, and not before the
// gap that the provider advises.
func (c *Controller) stages(e rollout.Purge, selectors []cdn.Selector, attempt int) []stage {
	targets := c.cfg.Regions[e.Region].CDN
	tiers := make(map[int][]CDNTarget)
	for _, t := range targets {
		tiers[t.Tier] = append(tiers[t.Tier], t)
	}
	fence, rounds := stage{told: "fenced"}, make([][2]stage, len(tiers))
	for i, tier := range slices.Sorted(maps.Keys(tiers)) {
		rounds[i][0].told, rounds[i][1].told = "purged", "purged again, for what was on its way meanwhile:"
		for _, t := range tiers[tier] {
			about := cdn.Item{
				Provider: t.Provider, Scope: t.Scope, App: string(e.App), Region: string(e.Region),
				Epoch: uint64(e.Epoch), Round: (e.Round-1)*roundsPerEffect + 2*attempt + 1,
			}
			purger := c.purger(t.Provider)
			selectors := slices.Concat(selectors, slices.SortedFunc(maps.Keys(c.owed(e, t)), cdn.Selector.Compare))
			if len(selectors) == 0 {
				continue
			}
			if _, can := purger.(cdn.Fencer); can && e.Epoch != runEpoch {
				raise := about
				raise.Selector = cdn.Selector{Kind: cdn.Fence, Value: generation(e).Name()}
				fence.add(t, raise)
			}
			for _, item := range cdn.Rounds(purger.Capabilities(), about, selectors, c.cfg.OriginFetch) {
				rounds[i][item.Round-about.Round].add(t, item)
			}
		}
	}
	all := []stage{fence}
	for n := range 2 {
		for _, r := range rounds {
			all = append(all, r[n])
		}
	}
	return slices.DeleteFunc(all, func(s stage) bool { return len(s.items)+len(s.loose) == 0 })
}

// owed returns what an optional target has refused in earlier purges of the app's region and
// was not asked for again since, and in which epoch: nobody waited, and the region has gone on.
func (c *Controller) owed(e rollout.Purge, t CDNTarget) map[cdn.Selector]wire.Epoch {
	if !t.Optional || e.Epoch == runEpoch {
		return nil
	}
	caps, refused := c.purger(t.Provider).Capabilities(), make(map[cdn.Selector]wire.Epoch)
	for _, entry := range c.outbox.List(cdn.Filter{Provider: t.Provider, Scope: t.Scope, App: string(e.App), Region: string(e.Region)}) {
		item := entry.Item // by epoch and round
		own := item.Epoch == uint64(e.Epoch) && item.Round > (e.Round-1)*roundsPerEffect
		if own || item.Epoch > uint64(e.Epoch) || item.Selector.Kind == cdn.Fence {
			continue
		}
		if entry.State == cdn.StateRefused && caps.Check(item.Selector, false) == nil {
			refused[item.Selector] = wire.Epoch(item.Epoch)
		} else {
			delete(refused, item.Selector)
		}
	}
	return refused
}

func (s *stage) add(t CDNTarget, item cdn.Item) {
	if t.Optional {
		s.loose = append(s.loose, item)
		return
	}
	s.items = append(s.items, item)
}

// carryThrough has the stages done one after the other, and returns the items that a proof is
// about: those that somebody waits for.
func (c *Controller) carryThrough(ctx context.Context, e rollout.Purge, stages []stage) ([]cdn.ID, error) {
	var proved []cdn.ID
	for _, s := range stages {
		if _, err := c.submit(ctx, s.loose); err != nil {
			return nil, err
		}
		ids, err := c.submit(ctx, s.items)
		if err != nil {
			return nil, err
		}
		if err := c.accepted(ctx, e, s.told, ids); err != nil {
			return nil, err
		}
		if len(s.items) > 0 && s.items[0].Selector.Kind != cdn.Fence {
			proved = append(proved, ids...)
		}
	}
	return proved, nil
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
	if len(ids) == 0 {
		return nil
	}
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
