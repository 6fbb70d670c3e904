package controller_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A purge is over when every vantage point has seen the epoch: it is repeated while one
// sees an older one, and at last halts the rollout before the next wave.
func TestVantagePoints(t *testing.T) {
	const halt = 8 // a purge is two calls, and it is repeated three times
	for _, test := range []struct {
		name  string
		shows func(purges int) string // of ams; "": no generation
		calls int                     // purges of ams, when the rollout has come to an end
		why   string                  // of the halt; "": it is done
	}{
		{"fresh", func(int) string { return "edge.ams-1" }, 2, ""},
		{"stale until purged again", func(n int) string { return fmt.Sprintf("edge.ams-%d", n/4) }, 4, ""},
		{"stale until the last repeat", func(n int) string { return fmt.Sprintf("edge.ams-%d", n/halt) }, halt, ""},
		{"stale for ever", func(int) string { return "edge.ams-0" }, halt, "edge.ams-0, wanted edge.ams-1"},
		{"another region", func(int) string { return "edge.fra-1" }, halt, "edge.fra-1 of another region"},
		{"nothing to go by", func(int) string { return "" }, halt, "neither"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var mended atomic.Bool
			f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: {"f1"}}})
			edgeCache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				switch {
				case mended.Load():
					w.Header().Set("X-Ebbgate-Gen", "edge.ams-1")
				default:
					if gen := test.shows(len(f.line.purgesBetween(ams, -1, -1))); gen != "" {
						w.Header().Set("X-Ebbgate-Gen", gen)
					}
				}
			}))
			t.Cleanup(edgeCache.Close)
			good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Ebbgate-Gen", "edge.ams-1") }))
			t.Cleanup(good.Close)
			probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "good", URL: good.URL}, {Name: "near", URL: edgeCache.URL}}})
			must(t, err)
			f.spec.config = func(c *controller.Config) {
				r := c.Regions[ams]
				r.Probes = map[wire.App]*cdn.Probe{edge: probe}
				c.Regions[ams] = r
			}
			d := f.drive()
			v1 := f.publish(d, site(edge, "1", "a", "b"))
			waves := plan([]wire.Region{ams}, []wire.Region{fra})
			if test.why != "" {
				r := f.roll(d, v1, waves, rollout.StatusHolding)
				if !strings.Contains(r.Halt, test.why) || !strings.Contains(r.Halt, "near") {
					t.Errorf("halted for %q, want %q near", r.Halt, test.why)
				}
				if i := f.line.first(ordered(edge, fra, 1, "activate")); i >= 0 {
					t.Error("the next wave began although the purge was not verified")
				}
			} else {
				f.roll(d, v1, waves, rollout.StatusDone)
			}
			if n := len(f.line.purgesBetween(ams, -1, -1)); n != test.calls {
				t.Errorf("%s was purged %d times, want %d", ams, n, test.calls)
			}
			if test.why != "" {
				mended.Store(true)
				_, err := d.Command(t.Context(), edge, "resume", rollout.Of{}, "op")
				must(t, err)
				f.ends(d, v1, rollout.StatusDone)
			}
			entries, err := d.Purges(t.Context(), ams, edge)
			must(t, err)
			seen := 0
			for _, e := range entries {
				if e.State == cdn.StateVerified && len(e.Evidence) == 2 && e.Evidence[1].Seen == "edge.ams-1" {
					seen++
				}
			}
			if seen == 0 {
				t.Error("no purge keeps what the vantage points saw")
			}
		})
	}
}

// A vantage point that does not answer says nothing: nothing is purged for it, its region holds
// with what is known, whatever the plan says of failures, and goes on by itself.
func TestVantageUnseen(t *testing.T) {
	for _, on := range []rollout.OnFailure{rollout.HoldOnly, rollout.RevertWave} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			var answers atomic.Bool
			var looks atomic.Int64
			cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				looks.Add(1)
				if !answers.Load() {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("X-Ebbgate-Gen", "edge.ams-1")
			}))
			t.Cleanup(cache.Close)
			f := lookedAt(t, cache.URL)
			d := f.drive()
			v1, p := f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams})
			p.OnPurgeFailure = on
			r := f.roll(d, v1, p, rollout.StatusHolding)
			if r.Halt != "" {
				t.Errorf("halted for %q", r.Halt)
			}
			v, err := d.App(t.Context(), edge)
			must(t, err)
			if want := "purge round 1 of epoch 1 cannot be verified: " + cache.URL + " at near could not be looked at: no answer"; !strings.Contains(v.Summary.Rollout.Reason, want) {
				t.Errorf("holds for %q, want %q", v.Summary.Rollout.Reason, want)
			}
			eventually(t, func() error {
				if n := looks.Load(); n < 3 {
					return fmt.Errorf("looked at %d times", n)
				}
				return nil
			})
			answers.Store(true)
			f.ends(d, v1, rollout.StatusDone)
			if n := len(f.line.purgesBetween(ams, -1, -1)); n != 2 {
				t.Errorf("%s was purged %d times, want 2", ams, n)
			}
		})
	}
}

// What a region has left behind is verified by nobody any more, however long a vantage point does
// not answer.
func TestVantageUnseenIsLeft(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if gone.Load() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Ebbgate-Gen", "edge.ams-9")
	}))
	t.Cleanup(cache.Close)
	f := lookedAt(t, cache.URL)
	d := f.drive()
	v1, v2 := f.publish(d, site(edge, "1", "a", "b")), f.publish(d, site(edge, "2", "a2", "b"))
	f.roll(d, v1, plan([]wire.Region{ams}), rollout.StatusDone)
	gone.Store(true)
	f.roll(d, v2, plan([]wire.Region{ams}), rollout.StatusHolding)
	_, err := d.Command(t.Context(), edge, "abort", rollout.Of{}, "op")
	must(t, err)
	eventually(t, func() error {
		v, err := d.App(t.Context(), edge)
		must(t, err)
		if p := v.Summary.Regions[0].Purge; p == nil || p.Epoch != 3 || p.Unseen == "" {
			return fmt.Errorf("the purge is %+v, want epoch 3 and unseen", p)
		}
		return nil
	})
	eventually(t, func() error {
		if n := d.Following(); n != 1 {
			return fmt.Errorf("%d purges are followed", n)
		}
		return nil
	})
	gone.Store(false)
	f.ends(d, v2, rollout.StatusAborted)
}

// After a rollback, what is cached of the release that the region goes back to bears the epoch
// of its first activation: it is not purged and not stale. What bears the bad one's is.
func TestVantageAfterRollback(t *testing.T) {
	for _, test := range []struct {
		name   string
		cached string // after the rollback
		ends   rollout.RolloutStatus
		why    string // of the halt
	}{
		{"same release, earlier epoch", "edge.ams-1", rollout.StatusReverted, ""},
		{"new epoch", "edge.ams-3", rollout.StatusReverted, ""},
		{"bad release", "edge.ams-2", rollout.StatusHolding, "edge.ams-2, wanted edge.ams-3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var cached atomic.Value
			cached.Store("edge.ams-1")
			cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Ebbgate-Gen", cached.Load().(string))
			}))
			t.Cleanup(cache.Close)
			f := lookedAt(t, cache.URL)
			d := f.drive()
			release := func(version wire.Version, text string) controller.BundleInfo {
				c := site(edge, version, text, "b")
				c.purge = []wire.PurgeRule{{Files: "**", Selectors: []string{"key:gen:{app}.{region}-{epoch}"}}}
				return f.publish(d, c)
			}
			f.roll(d, release("1", "a"), plan([]wire.Region{ams}), rollout.StatusDone)
			before := len(f.line.purgesBetween(ams, -1, -1))

			cached.Store(test.cached)
			f.agents["a1"].behave(behaviour{takeBack: "2"})
			r := f.roll(d, release("2", "bad"), plan([]wire.Region{ams}), test.ends)
			if !strings.Contains(r.Halt, test.why) {
				t.Errorf("halted for %q, want %q", r.Halt, test.why)
			}
			for _, m := range f.line.purgesBetween(ams, -1, -1)[before:] {
				if m.detail != "key:gen:edge.ams-2" {
					t.Errorf("purged %s after the rollback", m.detail)
				}
			}
			if test.why != "" {
				return
			}
			entries, err := d.Purges(t.Context(), ams, edge)
			must(t, err)
			for _, e := range entries {
				if e.Item.Epoch == 3 && e.State == cdn.StateVerified && (len(e.Evidence) != 1 || !strings.Contains(e.Evidence[0].Seen, test.cached)) {
					t.Errorf("the evidence of %s is %v, want %s", e.Item.Selector, e.Evidence, test.cached)
				}
			}
		})
	}
}

// A vantage point that names a target proves that one; the others have their provider's word.
func TestVantageThroughOneTarget(t *testing.T) {
	t.Parallel()
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Ebbgate-Gen", "edge.ams-1") }))
	t.Cleanup(cache.Close)
	probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "near", URL: cache.URL, Through: "near/s"}}})
	must(t, err)
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{tier{name: "near", tape: &tape{}}, tier{name: "far", tape: &tape{}}}
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {
			CDN:    []controller.CDNTarget{{Provider: "near", Scope: "s"}, {Provider: "far", Scope: "s"}},
			Probes: map[wire.App]*cdn.Probe{edge: probe},
		}}
	}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), rollout.StatusDone)
	entries, err := d.Purges(t.Context(), ams, edge)
	must(t, err)
	want := map[string]string{"near": "edge.ams-1", "far": "accepted by far/s; no vantage point looks through it"}
	for _, e := range entries {
		if e.State != cdn.StateVerified || len(e.Evidence) != 1 || e.Evidence[0].Seen != want[e.Item.Provider] {
			t.Errorf("%s at %s is %s: %v", e.Item.Selector, e.Item.Provider, e.State, e.Evidence)
		}
	}
	if len(entries) != 8 {
		t.Errorf("%d entries, want both keys twice at both", len(entries))
	}
}

// A page that a release leaves alone keeps its generation: its tags show that it was not purged,
// and the rollout goes on with the provider's word. Without tags it holds, and says why.
func TestVantageOnUnchangedPage(t *testing.T) {
	for name, tags := range map[string]string{"tagged": "edge-b", "without tags": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Ebbgate-Gen", "edge.ams-1")
				if tags != "" {
					w.Header().Set("Surrogate-Key", tags)
				}
			}))
			t.Cleanup(cache.Close)
			f := lookedAt(t, cache.URL)
			d := f.drive()
			f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), rollout.StatusDone)
			v2 := f.publish(d, site(edge, "2", "a2", "b"))
			if tags == "" {
				if r := f.roll(d, v2, plan([]wire.Region{ams}), rollout.StatusHolding); !strings.Contains(r.Halt, "a vantage point needs a URL that every release purges") {
					t.Errorf("halted for %q", r.Halt)
				}
				return
			}
			f.roll(d, v2, plan([]wire.Region{ams}), rollout.StatusDone)
			entries, err := d.Purges(t.Context(), ams, edge)
			must(t, err)
			for _, e := range entries {
				if e.Item.Epoch != 2 {
					continue
				}
				if e.State != cdn.StateVerified || len(e.Evidence) != 2 || !e.Evidence[0].NotPurged || !strings.Contains(e.Evidence[1].Seen, "accepted by fastly") {
					t.Errorf("%s is %s: %v", e.Item.Selector, e.State, e.Evidence)
				}
			}
		})
	}
}

// lookedAt is a fleet of one agent whose app has a vantage point.
func lookedAt(t *testing.T, url string) *fleet {
	t.Helper()
	probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "near", URL: url}}})
	must(t, err)
	return newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		r := c.Regions[ams]
		r.Probes = map[wire.App]*cdn.Probe{edge: probe}
		c.Regions[ams] = r
	}})
}
