package controller

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Start begins a rollout, if [Controller.Plan] can say what it would do and agents can
// stage the bundle. It is on disk once Start returns.
func (c *Controller) Start(ctx context.Context, req StartRequest, by string) (AppView, error) {
	planned, err := c.Plan(ctx, req)
	if err == nil {
		err = c.Sure() // before the bus is asked, which may not answer
	}
	if err == nil {
		err = c.stageable(ctx, planned.Digest)
	}
	if err != nil {
		return AppView{}, err
	}
	s, err := decide(ctx, c, func() (s rollout.State, err error) {
		info, plan, err := c.resolve(req)
		if err != nil {
			return s, err
		}
		if err := c.full(plan); err != nil {
			return s, err
		}
		s, err = c.command(c.engine(info.App), rollout.Start{
			Now: time.Now().UTC(), ID: newID(), By: by, Seed: rand.Text(), Plan: plan, CheckIndex: req.CheckIndex,
			Source: sourceOf(info), Acknowledge: req.Acknowledge, Supersede: req.Supersede, Emergency: req.Emergency,
			Target: wire.Target{Digest: info.Digest, Version: info.Version, Packs: []wire.PackRef{{Index: info.Index}}},
		}, by)
		c.cfg.trace("start taken")
		return s, err
	})
	if err != nil {
		return AppView{}, err
	}
	return c.view(s), nil
}

// Commands are what [Controller.Command] takes.
var Commands = []string{"pause", "resume", "approve", "promote", "step-back", "abort", "abort-all", "undo"}

// Command is one of [Commands] on the rollout of an app. What it decides is on disk once
// Command returns. Whether by may approve and promote is for the caller to know.
func (c *Controller) Command(ctx context.Context, app wire.App, name string, of rollout.Of, by string) (AppView, error) {
	s, err := decide(ctx, c, func() (s rollout.State, err error) {
		s, there := c.states[app]
		if !there {
			return s, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		now := time.Now().UTC()
		switch name {
		case "pause":
			return c.command(s, rollout.Pause{Now: now, By: by, Of: of}, by)
		case "resume":
			return c.command(s, rollout.Resume{Now: now, By: by, Of: of}, by)
		case "approve":
			return c.command(s, rollout.Approve{Now: now, By: by, Of: of}, by)
		case "promote":
			return c.command(s, rollout.Promote{Now: now, By: by, Of: of}, by)
		case "step-back":
			return c.command(s, rollout.StepBack{Now: now, By: by, Of: of}, by)
		case "abort", "abort-all":
			return c.command(s, rollout.Abort{Now: now, By: by, All: name == "abort-all", Of: of}, by)
		case "undo":
			return c.command(s, rollout.Undo{Now: now, ID: newID(), By: by, Of: of}, by)
		}
		return s, fmt.Errorf("%w: %q is not a command, want one of %s", ErrInvalid, name, strings.Join(Commands, ", "))
	})
	if err != nil {
		return AppView{}, err
	}
	return c.view(s), nil
}

// command runs an operator's event if the engine, in state s, can take it, and returns the state
// after it.
func (c *Controller) command(s rollout.State, e rollout.Event, by string) (rollout.State, error) {
	if err := rollout.Check(s, e); errors.Is(err, wire.ErrInvalid) {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	} else if err != nil {
		return s, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	err := c.stepBy(s, e, by)
	return c.states[s.App], err
}

// newID names a rollout: time first, to the millisecond, so that names sort as they came.
func newID() string {
	at := strings.Replace(time.Now().UTC().Format("20060102-150405.000"), ".", "-", 1)
	return strings.ToLower(at + "-" + rand.Text()[:6])
}

// settled leaves out what the bus does not have yet, while it does not say that this controller leads:
// another one may have decided something else, under the same numbers.
func (c *Controller) settled(ro *rollout.Rollout) *rollout.Rollout {
	published := c.published.Load()
	if ro == nil || published == nil || c.Sure() == nil {
		return ro
	}
	s := *ro
	s.Decisions = slices.DeleteFunc(slices.Clone(ro.Decisions), func(d rollout.Decision) bool { return d.At.After(*published) })
	return &s
}

// view shows a state that the loop has returned. It looks through all of the outbox, which
// the loop has no time for.
func (c *Controller) view(s rollout.State) AppView {
	doubt := c.doubt(s)
	s.Deaf = doubt != ""
	s.Rollout = c.settled(s.Rollout)
	v := AppView{App: s.App, Summary: rollout.Status(s), Rollout: s.Rollout, Explain: rollout.Explain(s), Barriers: c.barriers(s), Doubt: doubt}
	if why, stuck := c.stuck.Load(s.App); stuck && doubt == "" {
		v.Doubt = why.(string)
	}
	for _, b := range v.Barriers {
		target := fmt.Sprintf("%s: %s/%s", b.Region, b.Provider, b.Scope)
		switch p := s.Regions[b.Region].Purge; {
		case b.LeftBehind != "":
			v.Explain = append(v.Explain, fmt.Sprintf("%s (optional) was left behind by the purge of epoch %s, the next one asks it again: %s", target, b.Epoch, b.LeftBehind))
		case !p.Verified.IsZero() || p.Failed != "":
		case !b.PausedUntil.IsZero():
			v.Explain = append(v.Explain, fmt.Sprintf("%s has not taken the purge of epoch %s yet and is not asked before %s: %s", target, b.Epoch, b.PausedUntil.UTC().Format(time.RFC3339), cmp.Or(b.LastError, "the account is rate limited")))
		case b.LastError != "":
			v.Explain = append(v.Explain, fmt.Sprintf("%s has not taken the purge of epoch %s yet: %s", target, b.Epoch, b.LastError))
		}
	}
	if v.Doubt != "" {
		v.Explain = append(v.Explain, "now: "+v.Doubt)
	}
	return v
}

// App returns the state of one app.
func (c *Controller) App(ctx context.Context, app wire.App) (AppView, error) {
	s, err := do(ctx, c, func() (rollout.State, error) {
		s, there := c.states[app]
		if !there {
			return s, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		return s, nil
	})
	if err != nil {
		return AppView{}, err
	}
	return c.view(s), nil
}

// Apps returns the state of every app, by name.
func (c *Controller) Apps(ctx context.Context) ([]AppView, error) {
	states, err := do(ctx, c, func() (map[wire.App]rollout.State, error) { return maps.Clone(c.states), nil })
	if err != nil {
		return nil, err
	}
	views := []AppView{}
	for _, app := range wire.Keys(states) {
		views = append(views, c.view(states[app]))
	}
	return views, nil
}

// History returns the rollouts of an app, newest first: the active or last one and up to
// 100 before it.
func (c *Controller) History(ctx context.Context, app wire.App) ([]rollout.Rollout, error) {
	var records [][]byte // decoded below, which the loop has no time for
	s, err := do(ctx, c, func() (rollout.State, error) {
		s, there := c.states[app]
		if !there {
			return s, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		return s, c.pastRollouts(app, func(_ string, v []byte) error {
			records = append(records, slices.Clone(v))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	past := []rollout.Rollout{}
	for _, v := range records {
		r, err := decodeRecord[rollout.Rollout](v)
		if err != nil {
			return nil, err
		}
		past = append(past, r)
	}
	if s.Rollout != nil {
		past = append(past, *s.Rollout)
	}
	slices.Reverse(past)
	return past, nil
}

// Regions returns every configured region, by name.
func (c *Controller) Regions(ctx context.Context) ([]RegionView, error) {
	var states []rollout.State
	views, err := do(ctx, c, func() ([]RegionView, error) {
		views := []RegionView{}
		for _, app := range wire.Keys(c.states) {
			states = append(states, c.states[app])
		}
		for _, r := range wire.Keys(c.cfg.Regions) {
			v := RegionView{Region: r, Sequence: c.wants[r].Sequence, Apps: make(map[wire.App]Held), CDN: c.cfg.Regions[r].CDN}
			for _, n := range c.registry.list(r) {
				v.Agents++
				if c.live(n) {
					v.Live++
				}
			}
			for app, s := range c.states {
				if t := s.Regions[r].Committed; t != nil {
					v.Apps[app] = Held{t.Version, t.Digest, t.Epoch}
				}
			}
			views = append(views, v)
		}
		return views, nil
	})
	for _, s := range states { // not in the loop, as in view
		for _, b := range c.leftBehind(s) {
			i := slices.IndexFunc(views, func(v RegionView) bool { return v.Region == b.Region })
			if i < 0 {
				continue
			}
			if views[i].LeftBehind == nil {
				views[i].LeftBehind = make(map[string]string)
			}
			views[i].LeftBehind[b.Provider+"/"+b.Scope] = fmt.Sprintf("%s at epoch %s: %s", s.App, b.Epoch, b.LeftBehind)
		}
	}
	return views, err
}

// Events returns what happened after an event, and then what happens, until ctx ends or
// the reader falls too far behind; after zero means from now on. Nothing is told before the bus
// has the record of it.
func (c *Controller) Events(ctx context.Context, after uint64) (<-chan Event, error) {
	return c.feed.read(ctx, after), nil
}

// Audit returns up to 1000 entries of the audit log after one.
func (c *Controller) Audit(_ context.Context, after uint64) ([]AuditEntry, error) {
	if err := c.leads(); err != nil {
		return nil, err
	}
	return readAudit(c.db, after)
}
