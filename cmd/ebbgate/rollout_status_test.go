package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// While a rollout goes back, and after it, what its agents confirm is not the version that the
// line begins with, and is named.
func TestStatusNamesWhatIsConfirmed(t *testing.T) {
	for scene, want := range map[string]string{
		"running":     "running, wave 1 of 2, 0 of 6 agents confirmed",
		"second-wave": "running, wave 2 of 2, 5 of 6 agents confirmed",
		"done":        "done, 6 of 6 agents confirmed",
		"going-back":  "holding, wave 1 of 2, 5 of 6 agents confirmed 1.3.0, ",
		"quarantine":  "reverted, 6 of 6 agents confirmed 1.3.0, ",
		"expired":     "aborted, 6 of 6 agents confirmed 1.3.0: ",
	} {
		if line := statusLine(controller.AppView{Summary: rollout.Status(apitest.Scene(scene))}); !strings.HasPrefix(line, "edge-proxy 1.4.0: "+want) {
			t.Errorf("%s: %q, want %q", scene, line, want)
		}
	}
	mixed := rollout.RolloutSummary{Version: "1.4.0", Waves: []rollout.WaveSummary{{Regions: []rollout.RegionSummary{
		{Phase: rollout.PhaseCommitted, Running: "1.4.0", Counts: rollout.Counts{Total: 4, Drained: 1, Confirmed: 3}},
		{Phase: rollout.PhaseReverting, Running: "1.3.0", Next: "1.3.0", Counts: rollout.Counts{Total: 2, Confirmed: 1}},
		{Phase: rollout.PhaseDropped, Counts: rollout.Counts{Total: 2}},
	}}}}
	if got, want := confirmedText(&mixed), ", 1 of 2 agents confirmed 1.3.0, 3 of 3 agents confirmed 1.4.0"; got != want {
		t.Errorf("%q, want %q", got, want)
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
	data, err := json.Marshal(standingOf(controller.AppView{Summary: s, Doubt: doubt}))
	if err != nil || !strings.HasPrefix(string(data), `{"id":"`) || !strings.HasSuffix(string(data), `,"doubt":"`+doubt+`"}`) {
		t.Errorf("programs are shown %s, %v", data, err)
	}
	if data, err := json.Marshal(standingOf(controller.AppView{Doubt: doubt})); err != nil || string(data) != "null" {
		t.Errorf("of an app without a rollout programs are shown %s, %v", data, err)
	}
	for _, s := range []rollout.Summary{s, {App: "waf"}} {
		text := tree{width: 80, doubt: doubt}.render(s) + "\n"
		if _, below, _ := strings.Cut(text, "\n"); !strings.HasPrefix(below, "  ! "+doubt+"\n") {
			t.Errorf("the doubt is not below the head:\n%s", text)
		}
	}
}
