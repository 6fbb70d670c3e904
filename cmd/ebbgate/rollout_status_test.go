package main

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// While a rollout goes back, what its agents confirm is not the version that the line names.
func TestStatusCountsItsOwnVersion(t *testing.T) {
	seen := map[rollout.RolloutStatus]bool{}
	for _, v := range apitest.Film(rollout.StatusReverted) {
		status, line := v.Summary.Rollout.Status, statusLine(v)
		seen[status] = true
		if got, want := strings.Contains(line, "agents confirmed"), status == rollout.StatusRunning; got != want {
			t.Errorf("%s: %s", status, line)
		}
	}
	if !seen[rollout.StatusRunning] || !seen[rollout.StatusReverting] {
		t.Errorf("the film shows only %v", seen)
	}
}

// While nothing else is to be said, the line says until when a step or a wave bakes.
func TestStatusTellsBake(t *testing.T) {
	for scene, want := range map[string]string{
		"baking":  ": eu-west bakes until 12:00:32Z",
		"skew":    ": eu-west bakes until 12:10:05Z",
		"running": "agents confirmed",
	} {
		if line := statusLine(controller.AppView{Summary: rollout.Status(apitest.Scene(scene))}); !strings.HasSuffix(line, want) {
			t.Errorf("%s: %q, want %q at its end", scene, line, want)
		}
	}
}

// The hold in the line is the one that the reason tells of, and none if it tells of none.
func TestStatusTellsItsHold(t *testing.T) {
	for scene, want := range map[string]string{
		"gate":    " (gate, until 12:10:32Z)",
		"freeze":  " (freeze, until 18:00Z)",
		"paused":  "",
		"running": "",
	} {
		s := rollout.Status(apitest.Scene(scene))
		line := statusLine(controller.AppView{Summary: s})
		if _, told, _ := strings.Cut(line, s.Rollout.Reason); s.Rollout.Reason != "" && told != want {
			t.Errorf("%s: %q tells %q of its hold, want %q", scene, line, told, want)
		}
	}
	s := rollout.Status(apitest.Scene("gate"))
	s.Rollout.Hold = nil // an operator halted it, and said what the hold says
	if line := statusLine(controller.AppView{Summary: s}); !strings.HasSuffix(line, s.Rollout.Reason) {
		t.Errorf("it tells of another's hold: %s", line)
	}
}

// Why all may be old is told before what it may be the cause of.
func TestDoubtIsTold(t *testing.T) {
	s := rollout.Status(apitest.Scene("vanished"))
	const doubt = "the bus has not answered since 2026-11-23T12:00:03Z"
	if line, want := statusLine(controller.AppView{Summary: s, Doubt: doubt}), ": "+doubt+": eu-west: 1 agent vanished"; !strings.Contains(line, want) {
		t.Errorf("%q, want %q in it", line, want)
	}
	for _, s := range []rollout.Summary{s, {App: "waf"}} {
		text := tree{width: 80, doubt: doubt}.render(s) + "\n"
		if _, below, _ := strings.Cut(text, "\n"); !strings.HasPrefix(below, "  ! "+doubt+"\n") {
			t.Errorf("the doubt is not below the head:\n%s", text)
		}
	}
}
