package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Keys of the journal.
func appKey(a wire.App) string                      { return "app." + string(a) }
func bundleKey(d wire.Digest) string                { return "bundle." + d.String()[:40] } // a name has at most 63 characters
func wantKey(r wire.Region) string                  { return "want." + string(r) }
func agentKey(r wire.Region, a wire.AgentID) string { return "agent." + string(r) + "." + string(a) }
func historyKey(a wire.App, rollout string) string  { return "history." + string(a) + "." + rollout }

// step gives one event to one engine, commits what changed and queues the effects. It
// runs in the loop.
func (c *Controller) step(app wire.App, e rollout.Event) error {
	return c.stepBy(c.states[app], e, "controller")
}

// stepBy does it for an engine's state, which c.states may not have yet.
func (c *Controller) stepBy(old rollout.State, e rollout.Event, by string) error {
	app := old.App
	old.Room = c.crowded(old)
	next, effects := rollout.Step(old, e)
	if next.Revision == old.Revision && len(effects) == 0 {
		c.states[app] = next
		return nil
	}
	w := &write{put: map[string]any{}}
	if next.Revision != old.Revision {
		w.put[appKey(app)] = next.Record
	}
	if old.Rollout != nil && next.Rollout != nil && old.Rollout.ID != next.Rollout.ID {
		w.put[historyKey(app, old.Rollout.ID)] = rollout.Superseded(*old.Rollout, *next.Rollout)
		tooOld, err := c.forgotten(app, keptHistory-1)
		if err != nil {
			return err
		}
		w.delete = tooOld
	}
	states := withState(c.states, app, next)
	wants := make(map[wire.Region]want)
	for _, effect := range effects {
		switch effect := effect.(type) {
		case rollout.Publish:
			v, changed, err := c.desire(w, effect.Region, states)
			if err != nil {
				return err
			}
			if changed {
				wants[effect.Region] = v
			}
		case rollout.Decide:
			inputs, err := wire.EncodeJSON(effect.Decision.Inputs)
			if err != nil {
				return err
			}
			c.audit(w, AuditEntry{At: effect.Decision.At, By: by, Kind: string(effect.Decision.Kind), App: app,
				Region: effect.Decision.Region, Text: effect.Decision.Reason, Inputs: inputs})
		}
	}
	if err := c.commit(w); err != nil {
		return err
	}
	c.cfg.trace("committed")
	c.states = states
	for r, v := range wants {
		c.wants[r] = v
	}
	c.announce(app, effects)
	c.forget(app, effects)
	c.queue.add(effects...)
	c.wake()
	return nil
}

// stepAll gives an event of its own to the engine of every app. One whose orders do not fit in a
// region's document stays where it is and says so: the others go on, and an operator may abort it.
func (c *Controller) stepAll(event func(wire.App) rollout.Event) error {
	for _, app := range wire.Keys(c.states) {
		err := c.step(app, event(app))
		switch {
		case err == nil:
			c.stuck.Delete(app)
		case errors.Is(err, wire.ErrTooLarge):
			why := "it goes on when that fits, or back when it is aborted: " + err.Error()
			if was, _ := c.stuck.Swap(app, why); was != why {
				c.log.Error("an app stays where it is", "app", app, "reason", why)
			}
		default:
			return err
		}
	}
	return nil
}

func withState(states map[wire.App]rollout.State, app wire.App, s rollout.State) map[wire.App]rollout.State {
	next := make(map[wire.App]rollout.State, len(states)+1)
	for a, old := range states {
		next[a] = old
	}
	next[app] = s
	return next
}

// commit makes w durable here and has it copied to the bus.
func (c *Controller) commit(w *write) error {
	if len(w.put) == 0 && len(w.delete) == 0 && len(w.audit) == 0 {
		return nil
	}
	if err := c.journal.commit(w); err != nil {
		return err
	}
	c.wake()
	return nil
}

func (c *Controller) audit(w *write, e AuditEntry) {
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	w.audit = append(w.audit, e)
}

// emit has an event told to the readers of events by the pump.
func (c *Controller) emit(e Event) {
	c.feed.add(e)
	c.wake()
}

// announce tells the readers of events what was decided.
func (c *Controller) announce(app wire.App, effects []rollout.Effect) {
	for _, effect := range effects {
		if d, ok := effect.(rollout.Decide); ok {
			c.emit(Event{At: d.Decision.At, App: app, Region: d.Decision.Region, Kind: "decision", Text: d.Decision.Reason, Decision: &d.Decision})
			c.log.Info(d.Decision.Reason, "app", app, "kind", d.Decision.Kind, "region", d.Decision.Region)
		}
	}
}

// wake tells the pump that there is work.
func (c *Controller) wake() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

// resume makes the engines whole after load: they learn the members of every region, and
// everything that is not known to be done is done again.
func (c *Controller) resume(ctx context.Context) error {
	for _, r := range wire.Keys(c.cfg.Regions) {
		if err := c.catchUp(ctx, r); err != nil {
			return err
		}
		if err := c.reorder(r); errors.Is(err, wire.ErrTooLarge) {
			c.log.Error("a region keeps its orders until new ones fit", "region", r, "error", err)
		} else if err != nil {
			return err
		}
		if err := c.members(r); err != nil {
			return err
		}
	}
	if err := c.prune(); err != nil {
		return err
	}
	for _, app := range wire.Keys(c.states) {
		c.queue.add(rollout.Pending(c.states[app])...)
	}
	c.wake()
	return nil
}

// reorder signs the desired documents of regions again that do not say what the engines
// order, be it nothing: the bus may have kept the record of the one and lost that of the
// other, or a bundle was published again. Without any app there is nothing that a document
// could contradict.
func (c *Controller) reorder(regions ...wire.Region) error {
	if len(c.states) == 0 {
		return nil
	}
	w := &write{put: map[string]any{}}
	wants := make(map[wire.Region]want)
	for _, region := range regions {
		ordered := c.wants[region].Sequence > 0
		for _, app := range wire.Keys(c.states) {
			o := rollout.OrderFor(c.states[app], region)
			ordered = ordered || o.Base != nil || o.Next != nil
		}
		if !ordered {
			continue
		}
		v, changed, err := c.desire(w, region, c.states)
		if err != nil {
			return err
		}
		if changed {
			wants[region] = v
		}
	}
	if err := c.commit(w); err != nil {
		return err
	}
	for _, region := range wire.Keys(wants) {
		c.wants[region] = wants[region]
		c.queue.add(rollout.Publish{Region: region})
	}
	c.wake()
	return nil
}

// members tells the engines which agents of a region serve their app: the enrolled ones,
// but for those whose report shows that they do not have it.
func (c *Controller) members(region wire.Region) error {
	return c.stepAll(func(app wire.App) rollout.Event { return c.membersOf(app, region) })
}

func (c *Controller) membersOf(app wire.App, region wire.Region) rollout.Members {
	e := rollout.Members{Now: time.Now().UTC(), Region: region}
	for _, n := range c.registry.list(region) {
		if n.serves(app) {
			e.Agents = append(e.Agents, rollout.Member{ID: n.Agent, Drained: n.Drained})
		}
	}
	return e
}

// engine returns the state of an app's engine. Of an app that has none yet it makes one that
// knows the fleet; the app is there once a command has been taken.
func (c *Controller) engine(app wire.App) rollout.State {
	if s, there := c.states[app]; there {
		return s
	}
	s := rollout.State{Record: rollout.Record{App: app}, Lost: wire.Duration(c.cfg.Lost)}
	for _, r := range wire.Keys(c.cfg.Regions) {
		s, _ = rollout.Step(s, c.membersOf(app, r)) // no effects: before the first rollout there is nothing to decide
	}
	for _, n := range c.registry.list("") {
		if e, ok := reported(app, n); ok {
			s, _ = rollout.Step(s, e)
		}
	}
	return s
}

// load fills the loop's state from the journal.
func (c *Controller) load() error {
	all, err := c.journal.load()
	if err != nil {
		return fmt.Errorf("cannot load the journal: %w", err)
	}
	for _, key := range wire.Keys(all) {
		if err := c.loadRecord(key, all[key]); err != nil {
			return fmt.Errorf("cannot load journal record %s: %w", key, err)
		}
	}
	return nil
}

func (c *Controller) loadRecord(key string, data []byte) error {
	kind, _, _ := strings.Cut(key, ".")
	switch kind {
	case "app":
		var r rollout.Record
		if err := json.Unmarshal(data, &r); err != nil {
			return err
		}
		c.states[r.App] = rollout.State{Record: r, Lost: wire.Duration(c.cfg.Lost)}
	case "bundle":
		var b BundleInfo
		if err := json.Unmarshal(data, &b); err != nil {
			return err
		}
		c.bundles[b.Digest] = b
	case "agent":
		var e enrolled
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		c.registry.put(e)
	case "want":
		var v want
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		c.wants[wire.Region(strings.TrimPrefix(key, "want."))] = v
	case "history": // read when asked for
	default:
		return errors.New("is of an unknown kind: was it written by a newer controller?")
	}
	return nil
}
