package controller_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A region in which nobody waits for a purge is one that plan warns of.
func TestAllOptional(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		region := c.Regions[ams]
		for i := range region.CDN {
			region.CDN[i].Optional = true
		}
		region.Probes = nil
		c.Regions = map[wire.Region]controller.RegionConfig{ams: region}
	}})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})})
	must(t, err)
	if want := "all cdn targets are optional: nobody waits for their purges"; !slices.Contains(view.Regions[0].Warnings, want) {
		t.Errorf("plan warns %q, want %q among it", view.Regions[0].Warnings, want)
	}
}

// A region that no CDN is before passes its barrier, and nobody is told that it was purged.
func TestRegionWithoutCDN(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {}}
	}})
	d := f.drive()
	r := f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), rollout.StatusDone)
	var told []string
	for _, d := range r.Decisions {
		if d.Kind == rollout.KindBarrier || d.Kind == rollout.KindCommit {
			told = append(told, d.Reason)
		}
	}
	want := "no purge to wait for in ams: it has no CDN\nams runs 1: confirmed and committed; no purge to wait for: it has no CDN"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}
