package controller_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// hung is a provider of the tape whose fences or purges do not get through for a time.
type hung struct {
	tier
	fences, purges *atomic.Bool // hang
}

func (p hung) Fence(_ context.Context, _, name string, epoch uint64) error {
	if p.fences.Load() {
		return p.busy()
	}
	p.tape.add("%s fences %s below %d", p.name, name, epoch)
	return nil
}

func (p hung) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if p.purges.Load() {
		return cdn.Receipt{}, p.busy()
	}
	return p.tier.Purge(ctx, r)
}

func (p hung) busy() error {
	return &cdn.Error{Provider: p.name, Class: cdn.Retryable, RetryAfter: 20 * time.Millisecond, Message: "503"}
}

// A target that does not answer holds the barrier up, and not what others are asked: those beside
// it are purged twice, and those that refill from it, an optional one, too, once, and again when it is
// done.
func TestTargetsTakeTheirCourses(t *testing.T) {
	for _, test := range []struct {
		name           string
		fences, purges bool
		meanwhile      []string // asked while shield/s hangs
		after          []string // and once it does not
	}{
		{
			"purge", false, true,
			[]string{"beside purges key:edge-a", "beside purges key:edge-a", "outer purges key:edge-a", "shield fences edge.ams below 2", "spare purges key:edge-a"},
			[]string{"shield purges key:edge-a", "shield purges key:edge-a", "outer purges key:edge-a", "spare purges key:edge-a"},
		},
		{
			"fence", true, false,
			[]string{"beside purges key:edge-a", "beside purges key:edge-a", "outer purges key:edge-a", "shield purges key:edge-a", "spare purges key:edge-a"},
			[]string{"shield fences edge.ams below 2", "shield purges key:edge-a", "outer purges key:edge-a", "spare purges key:edge-a"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tp := &tape{}
			shield := hung{tier{name: "shield", tape: tp}, &atomic.Bool{}, &atomic.Bool{}}
			f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
				*c = controller.WithPatience(*c, 300*time.Millisecond)
				c.Purgers = []cdn.Purger{shield, tier{name: "beside", tape: tp}, tier{name: "outer", tape: tp}, tier{name: "spare", tape: tp}}
				c.OriginFetch = 50 * time.Millisecond
				c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
					{Provider: "outer", Scope: "s", Tier: 1}, {Provider: "spare", Scope: "s", Tier: 1, Optional: true}, {Provider: "shield", Scope: "s"}, {Provider: "beside", Scope: "s"},
				}}}
			}})
			d := f.drive()
			f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
			const before = 9 // a fence, and two purges of each
			eventually(t, func() error {
				if n := len(tp.since(0)); n != before {
					return fmt.Errorf("%d calls, want %d", n, before)
				}
				return nil
			})
			shield.fences.Store(test.fences)
			shield.purges.Store(test.purges)
			v2 := f.publish(d, site(edge, "2", "a2", "b"))
			f.begin(d, controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})})
			eventually(t, func() error {
				got := tp.since(before)
				slices.Sort(got)
				if !slices.Equal(got, test.meanwhile) {
					return fmt.Errorf("asked meanwhile: %q", got)
				}
				return nil
			})
			v, err := d.App(t.Context(), edge)
			must(t, err)
			if p := v.Summary.Regions[0].Purge; !p.Verified.IsZero() || v.Rollout.Status.Ended() {
				t.Errorf("the barrier stands while the shield hangs: %s, %+v", v.Rollout.Status, p)
			}
			shield.fences.Store(false)
			shield.purges.Store(false)
			f.ends(d, v2, "done")
			eventually(t, func() error { // nobody waits for the optional one
				got := tp.since(before + len(test.meanwhile))
				slices.Sort(got[min(len(got), 2):]) // one tier
				if diff := cmp.Diff(test.after, got); diff != "" {
					return fmt.Errorf("calls afterwards (-want +got):\n%s", diff)
				}
				return nil
			})
		})
	}
}

// What one target refuses halts the rollout at once, and the others are purged all the same.
func TestRefusalStopsNoOtherTarget(t *testing.T) {
	tp, wrong := &tape{}, &atomic.Bool{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{fickle{tier: tier{name: "cf", tape: tp}, wrong: wrong}, tier{name: "fast", tape: tp}, tier{name: "outer", tape: tp}}
		c.OriginFetch = 50 * time.Millisecond
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{{Provider: "cf", Scope: "z"}, {Provider: "fast", Scope: "s"}, {Provider: "outer", Scope: "s", Tier: 1}}}}
	}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	before := len(tp.since(0))
	wrong.Store(true)
	v2 := f.publish(d, site(edge, "2", "a2", "b"))
	f.begin(d, controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})})
	if r := f.ends(d, v2, "holding"); !strings.Contains(r.Halt, "403 bad token") {
		t.Errorf("halted for %q", r.Halt)
	}
	eventually(t, func() error {
		got := tp.since(before)
		slices.Sort(got)
		if !slices.Equal(got, []string{"fast purges key:edge-a", "fast purges key:edge-a", "outer purges key:edge-a", "outer purges key:edge-a"}) {
			return fmt.Errorf("asked: %q", got)
		}
		return nil
	})
}

// A region whose targets are all optional goes on whatever they answer, and nobody is told that
// it was purged; but where a vantage point looks, what it sees counts.
func TestNobodyWaitsForOptional(t *testing.T) {
	for _, test := range []struct {
		name, shows string
		status      rollout.RolloutStatus
		told        string
	}{
		{"nobody looks", "", "done", "no purge to wait for in ams: all its targets are optional"},
		{"fresh", "edge.ams-1", "done", "purge round 1 of ams is verified: edge.ams-1 at near"},
		{"stale", "edge.ams-0", "holding", "edge.ams-0, wanted edge.ams-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
				*c = controller.WithPatience(*c, 200*time.Millisecond)
				c.Purgers = []cdn.Purger{tier{name: "gone", tape: &tape{}, down: true}}
				r := controller.RegionConfig{CDN: []controller.CDNTarget{{Provider: "gone", Scope: "s", Optional: true}}}
				if test.shows != "" {
					cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Ebbgate-Gen", test.shows) }))
					t.Cleanup(cache.Close)
					probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "near", URL: cache.URL}}})
					must(t, err)
					r.Probes = map[wire.App]*cdn.Probe{edge: probe}
				}
				c.Regions = map[wire.Region]controller.RegionConfig{ams: r}
			}})
			d := f.drive()
			v1 := f.publish(d, site(edge, "1", "a", "b"))
			f.begin(d, controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})})
			f.ends(d, v1, test.status)
			f.explains(d, test.told)
		})
	}
}

// Where no rule names what changed, nobody is told that it was purged.
func TestNoRuleForTheChange(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	c := site(edge, "1", "a", "b")
	c.purge = nil
	f.roll(d, f.publish(d, c), plan([]wire.Region{ams}), "done")
	f.explains(d, "no purge to wait for in ams: no purge rule names what changed")
	c = site(edge, "2", "a2", "b")
	c.purge = nil
	f.publish(d, c)
	view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})})
	must(t, err)
	if w := "no purge rule names what changes: nothing will be purged"; !has(view.Regions[0].Warnings, w) {
		t.Errorf("warned of %q", view.Regions[0].Warnings)
	}
}
