package stale

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

var (
	requests = flag.Int("requests", 0, "how many requests in all, over every scenario; 0: one scenario and its control")
	picture  = flag.String("picture", "", "file for a picture of one run")
)

// pictured is the run of which there is a picture.
const pictured = "in flight, longer than the gap"

const (
	// A run lasts some ten seconds, most of which the fleet needs for itself.
	runTime      = 8   // seconds
	fewPerSecond = 600 // requests
	mostPer      = 4000
	controlPer   = 1500
	// Of a hundred requests, so many may go without a 200: a reload of nginx closes
	// connections.
	mostLost = 1
)

// TestStale plays every scenario, in which no stale answer may come, and then those with a
// protection switched off, in which one has to.
func TestStale(t *testing.T) {
	f := startFleet(t)
	first := f.next()
	f.publish(t, first)
	f.start(t, first, atOnce)
	f.waitEnd(t, first, scenario{}.status())

	var rows []row
	defer func() {
		if err := writeTable(t.Output(), rows); err != nil {
			t.Error(err)
		}
	}()
	play := func(s scenario, control string, requests, perSecond int) {
		name := s.name
		if control != "" {
			name = control
		}
		played := len(rows)
		ok := t.Run(name, func(t *testing.T) {
			if control != "" {
				f.lead(t, control)
			}
			r := f.perform(t, s, control, requests, perSecond)
			rows = append(rows, row{r.count, s.name, control, r.courses})
			if s.name == pictured && control == "" {
				r.picture(t)
			}
			r.judge(t)
		})
		if !ok && len(rows) == played {
			t.FailNow() // the fleet is in the middle of something
		}
	}
	chosen := scenarios
	if *requests == 0 {
		chosen = scenarios[1:2] // whose outcome does not depend on how busy the machine is
	}
	each := *requests / len(chosen)
	for _, s := range chosen {
		play(s, "", each, min(max(each/runTime, fewPerSecond), mostPer))
	}
	for _, s := range chosen {
		if s.control != "" {
			play(s, s.control, 0, controlPer)
		}
	}
}

// picture draws the run, if that was asked for.
func (r result) picture(t *testing.T) {
	t.Helper()
	if *picture == "" {
		return
	}
	title := fmt.Sprintf("%s: %d requests, %d stale after the barrier", r.scenario.name, r.requests, r.stale)
	if err := os.WriteFile(*picture, []byte(draw(r.answers, r.courses, r.calls, title)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// judge holds a run to what it has to show.
func (r result) judge(t *testing.T) {
	t.Helper()
	for _, s := range r.samples {
		t.Logf("stale: %s", s)
	}
	if r.torn > 0 {
		t.Errorf("%d answers have the header of one version and the body of another", r.torn)
	}
	if lost := r.unanswered + r.failed; lost*100 > r.requests*mostLost {
		t.Errorf("%d of %d requests were not answered 200", lost, r.requests)
	}
	if r.old == 0 || r.cached == 0 {
		t.Errorf("%d answers from the caches before the activation, %d old ones after it: there was nothing to purge", r.cached, r.old)
	}
	if blind := r.blind(r.courses); len(blind) > 0 {
		t.Errorf("nothing was asked for after the barrier of %v", blind)
	}
	switch {
	case r.control != "" && r.stale == 0:
		t.Errorf("%d requests after the barrier and none stale without %s: the fault is not seen", r.fresh, r.control)
	case r.control == "" && r.stale > 0:
		t.Errorf("%d of %d answers after the barrier are stale; the slowest before it took %s", r.stale, r.stale+r.fresh, r.slowest.Round(time.Millisecond))
	}
}
