package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/wire"
)

// checkTargets refuses what a target of the region cannot purge, and warns where it is optional.
// Targets may have come since the bundles were published.
func (c *Controller) checkTargets(p *PlanRegion, selectors []cdn.Selector) error {
	for _, t := range c.cfg.Regions[p.Region].CDN {
		for _, s := range selectors {
			err := c.purger(t.Provider).Capabilities().Check(s, false)
			if err != nil && !t.Optional {
				return fmt.Errorf("%w: %s: the purge rules name what %s/%s cannot purge: %w", ErrInvalid, p.Region, t.Provider, t.Scope, err)
			} else if err != nil {
				p.Warnings = append(p.Warnings, fmt.Sprintf("%s/%s, which is optional, keeps what it cannot purge: %v", t.Provider, t.Scope, err))
				break
			}
		}
	}
	return nil
}

// account is what has a quota: an account at a provider or, where scopes have quotas of their
// own, one of them.
type account struct{ provider, scope string }

// demand is how many selectors of each kind accounts are asked for.
type demand map[account]map[cdn.Kind]int

func (d demand) add(more demand) {
	for at, counts := range more {
		for kind, n := range counts {
			if d[at] == nil {
				d[at] = make(map[cdn.Kind]int)
			}
			d[at][kind] += n
		}
	}
}

// at returns how many selectors the accounts of o are asked for.
func (d demand) at(o demand) (n int) {
	for at := range o {
		for _, count := range d[at] {
			n += count
		}
	}
	return n
}

// demand returns what both rounds of a purge ask of some targets.
func (c *Controller) demand(targets []CDNTarget, selectors []cdn.Selector) demand {
	counts := make(map[cdn.Kind]int)
	for _, s := range selectors {
		counts[s.Kind]++
	}
	d := make(demand)
	for _, t := range targets {
		if t.Optional {
			continue
		}
		caps := c.purger(t.Provider).Capabilities()
		for kind, count := range counts {
			limits := caps.Kinds[kind]
			quota, at := caps.Buckets[limits.Bucket], account{provider: t.Provider}
			if batch := max(1, limits.Batch); !quota.PerSelector {
				count = (count + batch - 1) / batch * batch // a request that is not full counts, too
			}
			if quota.PerScope {
				at.scope = t.Scope
			}
			d.add(demand{at: {kind: 2 * count}})
		}
	}
	return d
}

// planTimes predicts the purges of one wave, whose regions may purge at the same time, as many as
// the plan lets activate at once. It refuses what takes too long even alone, since that holds its
// region for certain, and warns of what others of the wave may make too long.
func (c *Controller) planTimes(view *PlanView, wave int, selectors [][]cdn.Selector) error {
	var own []int // of view.Regions
	demands := make([]demand, len(view.Regions))
	for i, p := range view.Regions {
		if p.Wave == wave+1 {
			own, demands[i] = append(own, i), c.demand(c.cfg.Regions[p.Region].CDN, selectors[i])
		}
	}
	for _, i := range own {
		p := &view.Regions[i]
		alone := c.purgeTime(p.Region, selectors[i], demand{})
		if wire.Duration(alone) > view.Plan.Deadline {
			return fmt.Errorf("%w: %w", ErrInvalid, &wire.FieldError{Doc: "plan", Field: "deadline",
				Reason: fmt.Sprintf("is %s, purging %s takes %s at the providers' limits", view.Plan.Deadline, p.Region, wire.Duration(alone.Round(time.Second)))})
		}
		rest := slices.DeleteFunc(slices.Clone(own), func(o int) bool { return o == i })
		slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(demands[b].at(demands[i]), demands[a].at(demands[i])) })
		if most := view.Plan.Waves[wave].MaxParallel; most > 0 {
			rest = rest[:min(len(rest), most-1)]
		}
		others := make(demand)
		for _, o := range rest {
			others.add(demands[o])
		}
		p.PurgeFor = wire.Duration(c.purgeTime(p.Region, selectors[i], others))
		if p.PurgeFor > view.Plan.Deadline {
			p.Warnings = append(p.Warnings, fmt.Sprintf("purging takes %s beside the other regions of the wave that use the same accounts, the deadline is %s: raise it, or lower max_parallel", wire.Duration(p.PurgeFor.Std().Round(time.Second)), view.Plan.Deadline))
		}
	}
	return nil
}

// purgeTime predicts how long the purge of a region takes at its providers' limits, which it
// shares with what others ask meanwhile: fences, both rounds at all targets, tier after tier,
// and the gap between them.
func (c *Controller) purgeTime(r wire.Region, selectors []cdn.Selector, others demand) (total time.Duration) {
	tiers := make(map[int][]CDNTarget) // one waits for the other
	var fence, gap time.Duration
	for _, t := range c.cfg.Regions[r].CDN {
		if t.Optional {
			continue
		}
		tiers[t.Tier] = append(tiers[t.Tier], t)
		caps := c.purger(t.Provider).Capabilities()
		for _, s := range selectors {
			gap = max(gap, c.cfg.OriginFetch, caps.Kinds[s.Kind].Gap)
		}
		fence = max(fence, caps.Spread)
	}
	others = maps.Clone(others)
	for _, tier := range slices.Sorted(maps.Keys(tiers)) {
		var longest time.Duration
		for at, counts := range c.demand(tiers[tier], selectors) {
			asked := demand{at: counts}
			asked.add(demand{at: others[at]}) // once, in whichever tier
			delete(others, at)
			longest = max(longest, cdn.PredictDuration(c.purger(at.provider).Capabilities(), asked[at]))
		}
		total += longest
	}
	return total + fence + gap
}
