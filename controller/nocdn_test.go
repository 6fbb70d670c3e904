package controller_test

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

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
	want := "nothing to purge in ams: it has no CDN\nams runs 1: confirmed and committed; nothing to purge: it has no CDN"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}
