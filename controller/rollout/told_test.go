package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// What to do about silent agents is told as long as the hold lasts, and not while nobody may have
// been able to report. It is advice, and no part of what was decided.
func TestAdviceAboutSilence(t *testing.T) {
	f := newFleet(t)
	f.quiet = true
	f.enrol("eu", "eu-1", "eu-2")
	p := basePlan()
	p.Waves = []Wave{{Regions: []wire.Region{"eu"}, Strategy: StrategyRolling}}
	f.run(2 * time.Second)
	f.operator(Start{Now: f.now, ID: "r1", By: "kim", Seed: "r1", Target: bundle("2.0"), Plan: p})
	for _, n := range f.nodes["eu"] {
		n.silent = true
	}
	f.run(time.Minute)
	const advice = "drain or remove what is gone for good"
	for _, deaf := range []bool{false, true} {
		s := f.s
		s.Deaf = deaf
		sum := Status(s)
		lines := Explain(s)
		decided, now := strings.Join(lines[:len(lines)-1], "\n"), lines[len(lines)-1]
		if !strings.HasPrefix(now, "now: eu holds (silent) ") || strings.Contains(decided, advice) {
			t.Fatalf("explained as\n%s\n%s", decided, now)
		}
		for where, text := range map[string]string{
			"explain": now, "reason": sum.Rollout.Reason, "its hold": sum.Rollout.Hold.Reason,
			"wave": sum.Rollout.Waves[0].Regions[0].Hold.Reason, "region": sum.Regions[0].Hold.Reason,
		} {
			if strings.Contains(text, advice) == deaf {
				t.Errorf("nobody can be heard: %v; %s says %q", deaf, where, text)
			}
		}
	}
}

// Who paused a rollout is told as long as its decisions go back that far.
func TestPausedLongAgo(t *testing.T) {
	f := newFleet(t)
	f.quiet = true
	f.enrol("eu", "eu-1", "eu-2")
	p := basePlan()
	p.Waves = []Wave{{Regions: []wire.Region{"eu"}, Strategy: StrategyRolling}}
	f.operator(Start{Now: f.now, ID: "r1", By: "kim", Seed: "r1", Target: bundle("2.0"), Plan: p})
	f.operator(Pause{Now: f.now, By: "kim"})
	s := f.s
	ro := *s.Rollout
	s.Rollout = &ro
	last := func() string { lines := Explain(s); return lines[len(lines)-1] }
	if got := last(); !strings.HasPrefix(got, "now: the rollout is paused by kim since 2026-") {
		t.Errorf("explained as %q", got)
	}
	ro.Decisions = nil
	if got, want := last(), "now: the rollout is paused; resume lets it go on"; got != want {
		t.Errorf("explained as %q, want %q", got, want)
	}
}
