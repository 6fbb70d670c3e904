package controller_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// generations publishes releases of edge that purge the generation that was of a.conf.
func (f *fleet) generations(d *driver, version wire.Version, a string) controller.BundleInfo {
	c := site(edge, version, a, "b")
	c.purge = []wire.PurgeRule{{Files: "a.conf", Selectors: []string{"key:gen-{epoch}"}}}
	return f.publish(d, c)
}

// What an optional target that never answers was asked does not pile up: it is asked in the
// newest epoch for all that it has missed, and gets that when it is back.
func TestOptionalNeverAnswers(t *testing.T) {
	t.Parallel()
	tp, busy := &tape{}, &atomic.Bool{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{tier{name: "fast", tape: tp}, fickle{tier{name: "gone", tape: tp}, &atomic.Bool{}, busy}}
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
			{Provider: "fast", Scope: "s"}, {Provider: "gone", Scope: "s", Optional: true},
		}}}
	}})
	d := f.drive()
	f.roll(d, f.generations(d, "1", "1"), plan([]wire.Region{ams}), rollout.StatusDone)
	busy.Store(true)
	const releases = 6
	for i := 2; i <= releases; i++ {
		f.roll(d, f.generations(d, wire.Version(fmt.Sprint(i)), fmt.Sprint(i)), plan([]wire.Region{ams}), rollout.StatusDone)
		eventually(t, func() error {
			all, err := d.Purges(t.Context(), ams, edge)
			must(t, err)
			// Two of each generation, the repeat too, and what the other target was asked last.
			if n := len(all); n > 2*i {
				return fmt.Errorf("after release %d the outbox has %d items", i, n)
			}
			for _, e := range all {
				if e.Item.Epoch < uint64(i) {
					return fmt.Errorf("after release %d the outbox has %s of epoch %d", i, e.Item.Selector, e.Item.Epoch)
				}
			}
			return nil
		})
	}
	busy.Store(false)
	eventually(t, func() error {
		for epoch := 1; epoch < releases; epoch++ {
			key := fmt.Sprintf("key:gen-%d", epoch)
			if !slices.ContainsFunc(tp.since(0), func(call string) bool { return strings.HasPrefix(call, "gone purges") && strings.Contains(call, key) }) {
				return errors.New("the target was not asked for " + key)
			}
		}
		return nil
	})
}

// What an optional target owes is no purge of the release: no vantage point has to show the new
// epoch for it.
func TestDebtIsNoPurge(t *testing.T) {
	t.Parallel()
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Ebbgate-Gen", "edge.ams-2") }))
	t.Cleanup(cache.Close)
	probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "near", URL: cache.URL}}})
	must(t, err)
	tp, wrong := &tape{}, &atomic.Bool{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{tier{name: "fast", tape: tp}, fickle{tier: tier{name: "cf", tape: tp}, wrong: wrong}}
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {
			CDN:    []controller.CDNTarget{{Provider: "fast", Scope: "s"}, {Provider: "cf", Scope: "zone", Optional: true}},
			Probes: map[wire.App]*cdn.Probe{edge: probe},
		}}
	}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), rollout.StatusDone)
	wrong.Store(true)
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), rollout.StatusDone)
	wrong.Store(false)
	f.roll(d, f.publish(d, site(edge, "3", "a2", "b")), plan([]wire.Region{ams}), rollout.StatusDone) // another version of the same
	f.explains(d, "barrier", "no purge to wait for in ams: no purge rule names what changed")
	eventually(t, func() error {
		if calls := tp.since(0); calls[len(calls)-1] != "cf purges key:edge-a" {
			return fmt.Errorf("the debt was not asked for: %q", calls)
		}
		return nil
	})
}

// A target that has come since the bundles were published may not be able to purge what they
// name: a plan is refused for it before anything switches, unless it is optional.
func TestTargetCannotPurge(t *testing.T) {
	for _, optional := range []bool{false, true} {
		t.Run(fmt.Sprintf("optional %v", optional), func(t *testing.T) {
			t.Parallel()
			late := false
			f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
				targets := []controller.CDNTarget(nil)
				if late {
					targets = []controller.CDNTarget{{Provider: "fastly", Scope: "svcams", Optional: optional}}
				}
				c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: targets}}
			}})
			d := f.drive()
			prefixed := func(version wire.Version, a string) controller.BundleInfo {
				c := site(edge, version, a, "b")
				c.purge = []wire.PurgeRule{{Files: "a.conf", Selectors: []string{"key:edge-a", "prefix:www.example.com/x/"}}}
				return f.publish(d, c)
			}
			v1, v2 := prefixed("1", "a"), prefixed("2", "a2")
			f.roll(d, v1, plan([]wire.Region{ams}), rollout.StatusDone)
			d = f.bounce(d, f.dir, func() { late = true })
			v, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})})
			if !optional {
				wantErr(t, "a plan", err, controller.ErrInvalid)
				if want := `ams: the purge rules name what fastly/svcams cannot purge: invalid selector "prefix:www.example.com/x/"`; !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %q, want %q", err, want)
				}
				return
			}
			must(t, err)
			if want := "fastly/svcams, which is optional, keeps what it cannot purge: "; !strings.Contains(strings.Join(v.Regions[0].Warnings, "\n"), want) {
				t.Errorf("warns of %q, want %q", v.Regions[0].Warnings, want)
			}
			f.roll(d, v2, plan([]wire.Region{ams}), rollout.StatusDone)
			eventually(t, func() error {
				all, err := d.Purges(t.Context(), ams, edge)
				must(t, err)
				for _, e := range all {
					if e.Item.Selector.Kind == cdn.Key && e.State == cdn.StateAccepted {
						return nil
					}
				}
				return errors.New("it was not asked for what it can purge")
			})
		})
	}
}
