package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	// purgeRepeats is how often a purge is repeated when a vantage point still sees
	// stale content, before the rollout is halted.
	purgeRepeats = 3
	// lookAgain and lookSeldom are how long to wait before a vantage point that could not be
	// looked at is looked at again: first, and at most.
	lookAgain, lookSeldom = time.Second, 15 * time.Second
	// roundsPerEffect numbers the outbox rounds of one purge effect: the first purge, the
	// second after the gap, and both again for each repeat.
	roundsPerEffect = 2 * (1 + purgeRepeats)
	// keptRuns is how many items of purges that operators asked for are kept in a region.
	keptRuns = 1000
	// maxRun bounds the selectors of one such purge, maxRuns the items of all: a tenth of the
	// outbox.
	maxRun, maxRuns = 1000, 10_000
	// runEpoch marks purges that an operator asked for; no activation has epoch zero.
	runEpoch = 0
)

func (c *Controller) newOutbox() (*cdn.Outbox, error) {
	purgers := c.cfg.Purgers
	if len(purgers) == 0 {
		purgers = []cdn.Purger{noPurger{}}
	}
	return cdn.NewOutbox(cdn.OutboxConfig{DB: c.db, Purgers: purgers, Log: c.log})
}

// selectors returns what has to be purged when a region that may have served any of the
// bundles in from goes over to to: the rules of both sides decide, on the files that
// differ. Tags that carry a version or an epoch are those of the old side, so that
// repeating the purge never throws away fresh content; only where nothing was served
// before do the new side's count. Of a bundle that the catalogue does not have, an agent's
// word for what it ran before, nothing is known but its epoch: the new side's rules decide,
// on all files.
func (c *Controller) selectors(ctx context.Context, e rollout.Purge) ([]cdn.Selector, error) {
	to, err := c.manifest(ctx, e.To)
	if err != nil {
		return nil, err
	}
	var all []cdn.Selector
	add := func(rules *wire.Manifest, vars cdn.Vars, changes []wire.Change) error {
		files := make([]string, len(changes))
		for i, ch := range changes {
			files[i] = ch.Path
		}
		s, err := cdn.Select(purgeRules(rules), files, vars)
		if err != nil {
			return fmt.Errorf("%w: purge rules of %s %s: %w", ErrInvalid, rules.App, rules.Version, err)
		}
		all = append(all, s...)
		return nil
	}
	vars := func(m *wire.Manifest, epoch wire.Epoch) cdn.Vars {
		return cdn.Vars{"app": string(e.App), "region": string(e.Region), "version": string(m.Version), "epoch": epoch.String()}
	}
	for _, s := range e.From {
		from, err := c.manifest(ctx, s.Digest)
		if errors.Is(err, ErrNotFound) {
			c.log.Warn("a region may have served what nobody published: purging by the new rules, for all files",
				"app", e.App, "region", e.Region, "epoch", s.Epoch, "digest", s.Digest, "error", err)
			if err := add(to, vars(to, s.Epoch), to.Diff(nil, e.Region)); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		changes := to.Diff(from, e.Region)
		for _, rules := range []*wire.Manifest{from, to} {
			if err := add(rules, vars(from, s.Epoch), changes); err != nil {
				return nil, err
			}
		}
	}
	if len(e.From) == 0 {
		if err := add(to, vars(to, e.Epoch), to.Diff(nil, e.Region)); err != nil {
			return nil, err
		}
	}
	return cdn.Coalesce(all), nil
}

func purgeRules(m *wire.Manifest) []cdn.Rule {
	rules := make([]cdn.Rule, len(m.Purge))
	for i, r := range m.Purge {
		rules[i] = cdn.Rule{Files: r.Files, Selectors: r.Selectors}
	}
	return rules
}

// checkRules reports the first purge rule of a bundle that could not be carried out in
// some region: better at publication than between an activation and its purge.
func (c *Controller) checkRules(m *wire.Manifest) error {
	for _, region := range wire.Keys(c.cfg.Regions) {
		vars := cdn.Vars{"app": string(m.App), "region": string(region), "version": string(m.Version), "epoch": "1"}
		rules := purgeRules(m)
		if _, err := cdn.Select(rules, nil, vars); err != nil {
			return fmt.Errorf("%w: purge%s", ErrInvalid, strings.TrimPrefix(err.Error(), "rules"))
		}
		for i, rule := range rules {
			for j, text := range rule.Selectors {
				if err := c.checkSelector(region, text, vars); err != nil {
					return fmt.Errorf("%w: purge[%d].selectors[%d]: region %s, %v", ErrInvalid, i, j, region, err)
				}
			}
		}
	}
	return nil
}

// checkSelector reports the first provider of a region that cannot purge a rule's selector.
// It counts whatever files the rule names: what matches none of this bundle may match one
// that only the bundle before has.
func (c *Controller) checkSelector(region wire.Region, text string, vars cdn.Vars) error {
	selectors, err := cdn.Select([]cdn.Rule{{Files: "**", Selectors: []string{text}}}, []string{"any"}, vars)
	if err != nil {
		return err
	}
	for _, t := range c.cfg.Regions[region].CDN {
		for _, s := range selectors {
			if err := c.purger(t.Provider).Capabilities().Check(s, false); err != nil {
				return fmt.Errorf("provider %s: %v", t.Provider, err)
			}
		}
	}
	return nil
}

func (c *Controller) purger(name string) cdn.Purger {
	for _, p := range c.cfg.Purgers {
		if p.Name() == name {
			return p
		}
	}
	return noPurger{}
}

// purge hands a purge effect to the outbox and sees to it that the engine learns the end.
// A refusal that a person has to mend ends it as failed; anything else is repeated for ever.
func (c *Controller) purge(ctx context.Context, e rollout.Purge) error {
	selectors, err := c.selectors(ctx, e)
	if err != nil {
		if !hopeless(err) {
			return err // the pump comes back to it
		}
		return c.purged(ctx, e, "", err)
	}
	if len(c.courses(e, selectors, 0)) == 0 {
		return c.purged(ctx, e, "", nil)
	}
	c.follow(ctx, e, selectors)
	return nil
}

// hopeless reports whether reading the same manifests again would give the same error. A
// bus that does not answer in time is not.
func hopeless(err error) bool {
	for _, final := range []error{ErrInvalid, ErrNotFound, wire.ErrInvalid, wire.ErrTooLarge} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// follow waits in the background for the end of a purge. One effect is followed once.
func (c *Controller) follow(ctx context.Context, e rollout.Purge, selectors []cdn.Selector) {
	if _, twice := c.following.LoadOrStore(e.ID(), true); twice {
		return
	}
	c.followers.Go(func() {
		defer c.following.Delete(e.ID())
		evidence, err := c.verify(ctx, e, selectors)
		if ctx.Err() != nil || errors.Is(err, errLeft) {
			return // the next start follows it again, if it still matters
		}
		c.cfg.trace("purge verified")
		for {
			failed := c.purged(ctx, e, evidence, err)
			if failed == nil {
				break
			}
			c.log.Warn("the end of a purge could not be recorded, which will be repeated", "effect", e.ID(), "error", failed)
			select {
			case <-ctx.Done():
				return // the next start follows it again
			case <-time.After(retryEffects):
			}
		}
		c.cfg.trace("purge recorded")
	})
}

// verify has every target take its course and, where the app has vantage points in the region,
// waits until all of them see the epoch or the same content. It repeats the purge when one sees
// something older. It returns what was seen, for people; nothing if nobody waits for a purge.
func (c *Controller) verify(ctx context.Context, e rollout.Purge, selectors []cdn.Selector) (string, error) {
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !c.awaited(ctx, e) {
			return "", errLeft
		}
		courses := c.courses(e, selectors, attempt)
		ids, err := c.carryThrough(ctx, e, courses)
		if err != nil {
			return "", err
		}
		if len(selectors) == 0 { // an optional target was asked for what it owes
			return "", nil
		}
		if len(ids) == 0 {
			if c.cfg.Regions[e.Region].Probes[e.App] == nil {
				return "", nil
			}
			ids = c.given(ctx, courses)
		}
		evidence, err := c.look(ctx, e, wanted(e, selectors), ids)
		if err == nil {
			c.emit(Event{App: e.App, Region: e.Region, Kind: "purge", Text: fmt.Sprintf("%s: purge verified: %s", e.Region, seen(evidence))})
			return seen(evidence), nil
		}
		if !errors.Is(err, cdn.ErrStale) {
			return "", err
		}
		if attempt == purgeRepeats {
			return "", fmt.Errorf("not verified after %d purges: %w", attempt+1, err)
		}
		c.unverified(ctx, e, true, strings.TrimPrefix(err.Error(), cdn.ErrStale.Error()+": "))
	}
}

// errLeft says that nobody waits for a purge any more: its region has gone on, or back.
var errLeft = errors.New("nobody waits for this purge any more")

func (c *Controller) awaited(ctx context.Context, e rollout.Purge) bool {
	awaits, err := do(ctx, c, func() (bool, error) { return c.states[e.App].Awaits(e.Region, e.Epoch, e.Round), nil })
	return awaits || err != nil
}

// look verifies purges. A vantage point that cannot be looked at says nothing about them: it is
// looked at again for as long as the rollout waits, which is told why, and nothing is purged for it.
func (c *Controller) look(ctx context.Context, e rollout.Purge, want cdn.Want, ids []cdn.ID) ([]cdn.Evidence, error) {
	told := ""
	for wait := lookAgain; ; wait = min(2*wait, lookSeldom) {
		evidence, err := c.outbox.Verify(ctx, c.verifier(e), want, ids...)
		if !errors.Is(err, cdn.ErrUnseen) {
			return evidence, err
		}
		first := evidence[slices.IndexFunc(evidence, func(e cdn.Evidence) bool { return e.Unseen })].String()
		if first != told && c.unverified(ctx, e, false, first) {
			told = first
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		if !c.awaited(ctx, e) {
			return nil, errLeft
		}
	}
}

// seen is what the vantage points saw, for people.
func seen(evidence []cdn.Evidence) string {
	texts := make([]string, len(evidence))
	for i, e := range evidence {
		if texts[i] = e.Seen; e.URL != "" {
			texts[i] = e.Seen + " at " + e.Vantage
		}
	}
	return strings.Join(texts, ", ")
}

// generation is what the region's data planes show once they have activated.
func generation(e rollout.Purge) wire.Generation {
	return wire.Generation{App: e.App, Region: e.Region, Epoch: e.Epoch}
}

// wanted is what a vantage point may see after a purge.
func wanted(e rollout.Purge, purged []cdn.Selector) cdn.Want {
	w := cdn.Want{Region: generation(e).Name(), Epoch: uint64(e.Epoch), Purged: purged}
	for _, epoch := range e.Same {
		w.Same = append(w.Same, uint64(epoch))
	}
	return w
}

func (c *Controller) verifier(e rollout.Purge) cdn.Verifier {
	if p := c.cfg.Regions[e.Region].Probes[e.App]; p != nil {
		return p
	}
	return unprobed{}
}

// unprobed takes the provider's word in a region that has no vantage points.
type unprobed struct{}

func (unprobed) Verify(_ context.Context, want cdn.Want) ([]cdn.Evidence, error) {
	return []cdn.Evidence{cdn.Word(want, "", "accepted by the providers; no vantage point is configured")}, nil
}

// unverified tells the engine why a purge is not verified yet, and reports whether it knows.
func (c *Controller) unverified(ctx context.Context, e rollout.Purge, stale bool, why string) bool {
	_, err := do(ctx, c, func() (struct{}, error) {
		return struct{}{}, c.step(e.App, rollout.PurgeUnverified{Now: time.Now().UTC(), Region: e.Region, Epoch: e.Epoch, Round: e.Round, Stale: stale, Reason: why})
	})
	next := "looking"
	if stale {
		next = "purging"
	}
	if err == nil {
		c.emit(Event{App: e.App, Region: e.Region, Kind: "purge", Text: fmt.Sprintf("%s: %s again: %s", e.Region, next, why)})
	}
	return err == nil
}

// purged tells the engine how a purge ended, and what was seen of it.
func (c *Controller) purged(ctx context.Context, e rollout.Purge, seen string, failure error) error {
	_, err := do(ctx, c, func() (struct{}, error) {
		now := time.Now().UTC()
		if failure != nil {
			return struct{}{}, c.step(e.App, rollout.PurgeFailed{Now: now, Region: e.Region, Epoch: e.Epoch, Round: e.Round, Reason: failure.Error()})
		}
		nothing := ""
		if seen == "" {
			nothing = c.nothing(e.Region)
		}
		return struct{}{}, c.step(e.App, rollout.PurgeVerified{Now: now, Region: e.Region, Epoch: e.Epoch, Round: e.Round, Nothing: nothing, Seen: seen})
	})
	return err
}

// nothing says why no purge of a region was waited for.
func (c *Controller) nothing(r wire.Region) string {
	targets := c.cfg.Regions[r].CDN
	switch {
	case len(targets) == 0:
		return "it has no CDN"
	case !slices.ContainsFunc(targets, func(t CDNTarget) bool { return !t.Optional }):
		return "all its targets are optional"
	}
	return "no purge rule names what changed"
}

// noPurger stands for a provider that is no longer configured: its items wait.
type noPurger struct{}

func (noPurger) Name() string                   { return "none" }
func (noPurger) Capabilities() cdn.Capabilities { return cdn.Capabilities{} }
func (noPurger) Purge(context.Context, cdn.Request) (cdn.Receipt, error) {
	return cdn.Receipt{}, &cdn.Error{Provider: "none", Class: cdn.Refused, Message: "no provider is configured"}
}
