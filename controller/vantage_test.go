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
		{"does not answer", nil, halt, "could not be looked at: no answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var mended atomic.Bool
			f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: {"f1"}}})
			edgeCache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				switch {
				case mended.Load():
					w.Header().Set("X-Ebbgate-Gen", "edge.ams-1")
				case test.shows == nil:
					panic(http.ErrAbortHandler)
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
				_, err := d.Command(t.Context(), edge, "resume", "op")
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
