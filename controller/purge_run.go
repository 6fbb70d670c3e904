package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// PurgeRequest asks to purge selectors in a region now, outside any rollout.
type PurgeRequest struct {
	Region    wire.Region `json:"region"`
	Selectors []string    `json:"selectors"`
}

// RunPurge purges selectors at every target of a region, twice as always. It returns once
// that is durable; the returned items say how far each has come.
func (c *Controller) RunPurge(ctx context.Context, req PurgeRequest, by string) ([]PurgeView, error) {
	region, ok := c.cfg.Regions[req.Region]
	if !ok {
		return nil, fmt.Errorf("%w: region %q is not configured", ErrNotFound, req.Region)
	}
	if len(region.CDN) == 0 {
		return nil, fmt.Errorf("%w: region %s has no cdn configured", ErrConflict, req.Region)
	}
	if n := len(req.Selectors); n == 0 || n > maxRun {
		return nil, fmt.Errorf("%w: selectors has %d entries, want 1 to %d", ErrInvalid, n, maxRun)
	}
	var selectors []cdn.Selector
	more := 0 // items
	for i, text := range req.Selectors {
		s, err := cdn.ParseSelector(text)
		if err != nil {
			return nil, fmt.Errorf("%w: selectors[%d]: %v", ErrInvalid, i, err)
		}
		able, err := c.able(region.CDN, s)
		if err != nil {
			return nil, fmt.Errorf("%w: selectors[%d]: %w", ErrInvalid, i, err)
		}
		more += 2 * able
		selectors = append(selectors, s)
	}
	if more > maxRuns {
		return nil, fmt.Errorf("%w: selectors: %d at %s are %d items, at most %d may be asked for at once", ErrInvalid, len(selectors), rollout.Plural(len(region.CDN), "target"), more, maxRuns)
	}
	if err := c.leads(); err != nil {
		return nil, err
	}
	c.runs.Lock()
	defer c.runs.Unlock()
	if err := c.forgetRuns(ctx, req.Region, more); err != nil {
		return nil, err
	}
	courses, err := decide(ctx, c, func() ([]course, error) {
		w := &write{}
		c.audit(w, AuditEntry{By: by, Kind: "purge", Region: req.Region, Text: fmt.Sprintf("%s asks to purge %s in %s", by, strings.Join(req.Selectors, " "), req.Region)})
		// The audit entry's number makes the round unique.
		if err := c.commit(w); err != nil {
			return nil, err
		}
		return c.courses(rollout.Purge{Region: req.Region, Epoch: runEpoch, Round: int(w.audit[0].ID)}, selectors, 0), nil
	})
	if err != nil {
		return nil, err
	}
	// All at once: nobody would submit the rest after a crash. The order is kept within a
	// target, by the gap before its second purge.
	var items []cdn.Item
	for _, co := range courses {
		items = append(items, slices.Concat(co.first, co.second)...)
	}
	ids, err := c.outbox.Submit(ctx, items)
	if err != nil {
		return nil, err
	}
	views := make([]PurgeView, len(ids))
	for i, id := range ids {
		views[i], _ = c.outbox.Get(id)
	}
	return views, nil
}

// able returns how many of some targets can purge a selector, or why that will not do: one that is
// not optional cannot, or none can.
func (c *Controller) able(targets []CDNTarget, s cdn.Selector) (n int, err error) {
	for _, t := range targets {
		cannot := c.purger(t.Provider).Capabilities().Check(s, false)
		if cannot == nil {
			n++
			continue
		}
		err = fmt.Errorf("provider %s: %w", t.Provider, cannot)
		if !t.Optional {
			return 0, err
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// forgetRuns makes room for items of another purge by hand: it drops those of a region that are
// over once they are many, and those of all regions before they would take more than their part
// of the outbox, which they share with rollouts. What an optional target has not answered by then is
// given up.
func (c *Controller) forgetRuns(ctx context.Context, region wire.Region, more int) error {
	if n := len(c.runsIn(region)); n >= keptRuns {
		if _, err := c.outbox.Prune("", string(region), runEpoch+1); err != nil {
			return err
		}
	}
	if len(c.runsIn(""))+more <= maxRuns {
		return nil
	}
	var spare []cdn.ID
	for _, e := range c.runsIn("") {
		for _, t := range c.cfg.Regions[wire.Region(e.Item.Region)].CDN {
			if e.Open() && t.Optional && t.Provider == e.Item.Provider && t.Scope == e.Item.Scope {
				spare = append(spare, e.ID)
			}
		}
	}
	if err := c.outbox.Cancel(ctx, "another purge by hand needs the room", spare...); err != nil {
		return err
	}
	for _, r := range wire.Keys(c.cfg.Regions) {
		if _, err := c.outbox.Prune("", string(r), runEpoch+1); err != nil {
			return err
		}
	}
	if open := len(c.runsIn("")); open+more > maxRuns {
		return fmt.Errorf("%w: %d items of purges by hand still wait for their providers, and this one is %d more, at most %d may; try again later", ErrConflict, open, more, maxRuns)
	}
	return nil
}

// runsIn returns what operators have had purged in a region; empty: in all.
func (c *Controller) runsIn(region wire.Region) []cdn.Entry {
	all := c.outbox.List(cdn.Filter{Region: string(region)})
	return slices.DeleteFunc(all, func(e cdn.Entry) bool { return e.Item.Epoch != runEpoch })
}

// Purges returns the purge outbox of a region and app, newest epoch first; empty names
// mean all.
func (c *Controller) Purges(_ context.Context, region wire.Region, app wire.App) ([]PurgeView, error) {
	if err := c.leads(); err != nil {
		return nil, err
	}
	if _, ok := c.cfg.Regions[region]; region != "" && !ok {
		return nil, fmt.Errorf("%w: region %q is not configured", ErrNotFound, region)
	}
	entries := c.outbox.List(cdn.Filter{Region: string(region), App: string(app)})
	slices.Reverse(entries)
	return entries, nil
}
