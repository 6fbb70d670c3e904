package controller_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func two() map[wire.Region][]wire.AgentID {
	return map[wire.Region][]wire.AgentID{ams: {"a1", "a2"}, fra: {"f1", "f2"}}
}

// barrier checks that a region's purges lie after its last confirmation of the epoch and
// before a later moment: at least two calls, as every purge is repeated.
func barrier(t *testing.T, l *timeline, r wire.Region, e wire.Epoch, before int) []moment {
	t.Helper()
	last := l.last(confirmed(edge, r, e))
	if last < 0 {
		t.Errorf("nobody in %s confirmed epoch %d", r, e)
	}
	purges := l.purgesBetween(r, last, before)
	if len(purges) < 2 {
		t.Errorf("%s was purged %d times between the last confirmation of epoch %d and what follows, want twice", r, len(purges), e)
	}
	return purges
}

// The order of a straight rollout: stage everywhere, activate a wave, purge it, and only
// then activate the next. The witness holds every order against the journal meanwhile.
func TestStraightRollout(t *testing.T) {
	f := newFleet(t, spec{regions: two()})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}, []wire.Region{fra}), "done")
	begun := len(f.line.list())
	f.cache.Put("https://www.example.com/a", "edge-a")
	f.cache.Put("https://www.example.com/b", "edge-b")
	f.roll(d, f.publish(d, site(edge, "2", "changed", "b")), plan([]wire.Region{ams}, []wire.Region{fra}), "done")

	next := f.line.first(ordered(edge, fra, 2, "activate"))
	for _, m := range barrier(t, f.line, ams, 2, next) {
		if m.detail != "key:edge-a" {
			t.Errorf("purged %q, only a.conf changed", m.detail)
		}
	}
	barrier(t, f.line, fra, 2, -1)
	for _, r := range []wire.Region{ams, fra} {
		staged, active := f.line.first(ordered(edge, r, 2, "stage")), f.line.first(ordered(edge, r, 2, "activate"))
		if staged < begun || staged > f.line.first(ordered(edge, ams, 2, "activate")) || active < staged {
			t.Errorf("%s: staged at %d, activated at %d", r, staged, active)
		}
		if p := f.line.purgesBetween(r, begun, f.line.last(confirmed(edge, r, 2))); len(p) > 0 {
			t.Errorf("%s was purged before everybody had confirmed: %v", r, p)
		}
	}
	if f.cache.Has("https://www.example.com/a") || !f.cache.Has("https://www.example.com/b") {
		t.Error("the cache lost what did not change, or kept what did")
	}
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "2", Epoch: 2}, fra: {Version: "2", Epoch: 2}})
	f.auditHolds(d)
	f.forward()
}

// forward checks that no agent ever saw an order go back.
func (f *fleet) forward() {
	f.t.Helper()
	for _, a := range f.agents {
		a.mu.Lock()
		for _, b := range a.backwards {
			f.t.Error(b)
		}
		a.mu.Unlock()
	}
}

// Objects that bear the generation they were made under are purged by the tags of the
// epochs before; those of the new one stay.
func TestGenerationTags(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	tagged := func(v wire.Version, text string) content {
		c := site(edge, v, text, "b")
		c.purge = []wire.PurgeRule{{Files: "**", Selectors: []string{"key:edge@{region}-{epoch}"}}}
		return c
	}
	f.roll(d, f.publish(d, tagged("1", "a")), plan([]wire.Region{ams}), "done")
	f.cache.Put("https://www.example.com/old", "edge@ams-1")
	f.cache.Put("https://www.example.com/new", "edge@ams-2")
	f.roll(d, f.publish(d, tagged("2", "a2")), plan([]wire.Region{ams}), "done")
	if f.cache.Has("https://www.example.com/old") || !f.cache.Has("https://www.example.com/new") {
		t.Error("the purge kept the old generation or threw away the new one")
	}
}

// A failure takes the wave back at a new epoch, and that activation is purged too.
func TestFailureReverts(t *testing.T) {
	f := newFleet(t, spec{regions: two()})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}, []wire.Region{fra}), "done")
	f.agents["a2"].behave(behaviour{takeBack: "2"})
	v2 := f.publish(d, site(edge, "2", "bad", "b"))
	f.roll(d, v2, plan([]wire.Region{ams}, []wire.Region{fra}), "reverted")
	// The node that took the bad release back by itself is ordered to the old content, too.
	if f.line.first(func(m moment) bool { return m.what == "confirmed" && m.agent == "a2" && m.epoch == 3 }) < 0 {
		t.Error("the node that took the release back was not ordered to go back")
	}
	barrier(t, f.line, ams, 3, -1)
	if i := f.line.first(ordered(edge, fra, 2, "activate")); i >= 0 {
		t.Error("a bad release left its wave")
	}
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 3}, fra: {Version: "1", Epoch: 1}})
	f.forward()
}

// An agent that claims to serve what it was only told to stage buys nothing: the others
// are waited for, and only then is the region purged.
func TestLiar(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2", "a3")})
	d := f.drive()
	f.agents["a1"].behave(behaviour{lie: true})
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	barrier(t, f.line, ams, 1, -1)
	if p := f.line.purgesBetween(ams, -1, f.line.last(confirmed(edge, ams, 1))); len(p) > 0 {
		t.Errorf("purged before everybody had confirmed: %v", p)
	}
}

// What the provider refuses halts the rollout until an operator has mended it.
func TestPurgeRefused(t *testing.T) {
	f := newFleet(t, spec{regions: two()})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.fastly.Inject(cdntest.Fault{Status: http.StatusForbidden})
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams}, []wire.Region{fra})}, "op")
	must(t, err)
	r := f.ends(d, v1, "holding")
	if !strings.Contains(r.Halt, "refused") || strings.Contains(r.Halt, token) {
		t.Errorf("halted for %q", r.Halt)
	}
	if i := f.line.first(ordered(edge, fra, 1, "activate")); i >= 0 {
		t.Error("the next wave began before the barrier")
	}
	_, err = d.Command(t.Context(), edge, "resume", rollout.Of{}, "op")
	must(t, err)
	f.ends(d, v1, "done")
	barrier(t, f.line, ams, 1, f.line.first(ordered(edge, fra, 1, "activate")))
}

// An answer that is lost leaves open whether the purge was done: it is sent again.
func TestPurgeUnknown(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	f.fastly.Inject(cdntest.Fault{LoseReply: true}, cdntest.Fault{Status: http.StatusServiceUnavailable})
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	if n := len(f.line.purgesBetween(ams, f.line.last(confirmed(edge, ams, 1)), -1)); n < 3 {
		t.Errorf("%d purges, want the lost one and two that were answered", n)
	}
}

// While a provider does not take a purge, explain tells what it last said, and until when it
// is not asked again.
func TestPurgeWaits(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault cdntest.Fault
		words []string
	}{
		{"rate limit", cdntest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "600"}, []string{"ams: fastly/", "has not taken the purge of epoch 1 yet and is not asked before 2", "429"}},
		{"failing", cdntest.Fault{Status: http.StatusServiceUnavailable}, []string{"ams: fastly/", "has not taken the purge of epoch 1 yet: ", "503"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, spec{regions: one("a1")})
			d := f.drive()
			f.publish(d, site(edge, "1", "a", "b"))
			f.fastly.Inject(slices.Repeat([]cdntest.Fault{test.fault}, 1000)...)
			f.begin(d, controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})})
			eventually(t, func() error { return f.explained(d, test.words...) })
		})
	}
}

// An agent that was left behind and switches later has its region purged once more.
func TestLateAgent(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2", "a3"), beat: 100 * time.Millisecond, config: func(c *controller.Config) { c.Lost = time.Second }})
	d := f.drive()
	p := plan([]wire.Region{ams})
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), p, "done")
	f.agents["a3"].behave(behaviour{silent: true})
	p = plan([]wire.Region{ams})
	p.MaxUnreachable = rollout.Count(1)
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), p, "done")
	if i := f.line.first(func(m moment) bool { return m.agent == "a3" && m.epoch == 2 }); i >= 0 {
		t.Fatal("the silent agent has switched")
	}
	f.agents["a3"].behave(behaviour{})
	eventually(t, func() error {
		v, err := d.App(t.Context(), edge)
		must(t, err)
		if purge := v.Summary.Regions[0].Purge; purge.Round != 2 || purge.Verified.IsZero() {
			return fmt.Errorf("the last purge is round %d", purge.Round)
		}
		return nil
	})
	late := f.line.last(func(m moment) bool { return m.agent == "a3" && m.epoch == 2 })
	if n := len(f.line.purgesBetween(ams, late, -1)); n < 2 {
		t.Errorf("%d purges after the late agent switched, want two", n)
	}
}

// Two apps at once: each goes its own way, on nodes that serve both or one.
func TestTwoApps(t *testing.T) {
	f := newFleet(t, spec{
		regions: map[wire.Region][]wire.AgentID{ams: {"a1", "a2", "a3"}},
		apps:    map[wire.AgentID][]wire.App{"a1": {edge, waf}, "a2": {edge}, "a3": {waf}},
	})
	d := f.drive()
	edge1, waf1 := f.publish(d, site(edge, "1", "a", "b")), f.publish(d, site(waf, "7", "a", "b"))
	f.roll(d, edge1, plan([]wire.Region{ams}), "done")
	f.roll(d, waf1, plan([]wire.Region{ams}), "done")
	edge2, waf2 := f.publish(d, site(edge, "2", "a2", "b")), f.publish(d, site(waf, "8", "a2", "b"))
	for _, info := range []controller.BundleInfo{edge2, waf2} {
		_, err := d.Start(t.Context(), controller.StartRequest{App: info.App, Version: info.Version, Plan: plan([]wire.Region{ams})}, "op")
		must(t, err)
	}
	f.ends(d, edge2, "done")
	f.ends(d, waf2, "done")
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "2", Epoch: 2}})
	f.holds(d, waf, map[wire.Region]controller.Held{ams: {Version: "8", Epoch: 2}})
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	f.ends(d, edge1, "done")
	f.holds(d, waf, map[wire.Region]controller.Held{ams: {Version: "8", Epoch: 2}})
	if f.agents["a3"].epoch(edge) != 0 || f.agents["a2"].epoch(waf) != 0 {
		t.Error("an agent serves an app that is not its own")
	}
	f.forward()
	views, err := d.Apps(t.Context())
	if err != nil || len(views) != 2 {
		t.Errorf("apps are %v, %v", views, err)
	}
}

// Undo takes the regions back through the same waves, with a purge each.
func TestUndo(t *testing.T) {
	f := newFleet(t, spec{regions: two()})
	d := f.drive()
	waves := plan([]wire.Region{ams}, []wire.Region{fra})
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.roll(d, v1, waves, "done")
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), waves, "done")
	_, err := d.Command(t.Context(), edge, "undo", rollout.Of{}, "op")
	must(t, err)
	f.ends(d, v1, "done")
	barrier(t, f.line, ams, 3, f.line.first(ordered(edge, fra, 3, "activate")))
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 3}, fra: {Version: "1", Epoch: 3}})
	past, err := d.History(t.Context(), edge)
	if err != nil || len(past) != 3 || past[0].Undoes != past[1].ID {
		t.Errorf("history has %d rollouts, %v", len(past), err)
	}
}
