package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The whole film of a rollout that is done and of one that is reverted, picture by picture.
func TestTree(t *testing.T) {
	for _, end := range []rollout.RolloutStatus{rollout.StatusDone, rollout.StatusReverted} {
		var got strings.Builder
		for _, v := range apitest.Film(end) {
			got.WriteString(tree{width: 100}.render(v.Summary) + "\n\n")
		}
		golden(t, "tree-"+string(end)+".golden", got.String())
	}
	if got := (tree{width: 80}).render(rollout.Summary{App: "waf", Regions: []rollout.RegionSummary{{Region: "eu-west", Running: "3"}}}); got != "waf  no rollout yet\n  eu-west  runs 3" {
		t.Errorf("without a rollout: %q", got)
	}
}

// An optional target that was left behind is told after the purge is verified, too.
func TestTreeLeftBehind(t *testing.T) {
	region := rollout.RegionSummary{Region: "us", Phase: rollout.PhaseCommitted, Running: "2", Purge: &rollout.PurgeRecord{Epoch: 6, Verified: apitest.Start}}
	text := strings.Join(tree{barriers: []controller.BarrierView{
		{Region: "us", Provider: "fast", Scope: "svc", First: cdn.StateVerified, Second: cdn.StateVerified},
		{Region: "us", Provider: "cf", Scope: "zone", Optional: true, First: cdn.StateRefused, Second: cdn.StateRefused, LastError: "403", LeftBehind: "403"},
	}}.region(region, rollout.StrategyRolling, apitest.Start), "\n")
	if !strings.Contains(text, "left behind: cf/zone (optional): purge refused → again refused: 403") || strings.Contains(text, "fast/svc") {
		t.Error(text)
	}
}

// A region whose agents run something else besides says so, in a rollout and without one.
func TestTreeMixed(t *testing.T) {
	region := rollout.RegionSummary{Region: "us", Phase: rollout.PhaseStaging, Running: "1", Next: "3", Others: []rollout.RunSummary{{Version: "2", Agents: 2}}}
	const want = "\n    also runs 2 on 2 agents"
	if text := strings.Join((tree{}).region(region, rollout.StrategyRolling, apitest.Start), "\n"); !strings.Contains(text, want) {
		t.Error(text)
	}
	if text := (tree{}).render(rollout.Summary{App: "waf", Regions: []rollout.RegionSummary{region}}); !strings.Contains(text, want) {
		t.Error(text)
	}
}

// An agent that runs neither what its region has committed nor what it goes over to says so.
func TestTreeNamesWhatRunsBesides(t *testing.T) {
	region := rollout.RegionSummary{Region: "eu", Phase: rollout.PhaseActivating, Running: "1.0.8", Next: "1.0.9", Agents: []rollout.AgentSummary{
		{ID: "eu-1", State: "confirmed", Version: "1.0.9"}, {ID: "eu-2", State: "staged", Version: "1.0.8"},
		{ID: "eu-3", State: "staged", Version: "1.0.7"}, {ID: "eu-4", State: "staged"},
	}}
	const want = "    ● eu-1 confirmed   ▃ eu-2 staged   ▃ eu-3 staged, runs 1.0.7   ▃ eu-4 staged"
	if got := (tree{width: 100}).cells(region); len(got) != 1 || got[0] != want {
		t.Errorf("cells are %q, want %q", got, want)
	}
}

// What waits for an operator says until when.
func TestTreeHalted(t *testing.T) {
	s := rollout.Summary{App: "waf", At: apitest.Start, Rollout: &rollout.RolloutSummary{
		ID: "r1", Status: rollout.StatusHolding, Reason: "1 agent failed",
		Hold: &rollout.Hold{Kind: rollout.HoldOperator, Reason: "1 agent failed", Deadline: apitest.Start.Add(time.Minute)},
	}}
	if text := (tree{}).render(s); !strings.Contains(text, "\n  holds (operator, until 12:01Z): 1 agent failed\n") && !strings.HasSuffix(text, "\n  holds (operator, until 12:01Z): 1 agent failed") {
		t.Error(text)
	}
}

// barriers is how far the purges of a scene are: the shield waits for its repeat, one edge
// was stale twice, another has no fence and is refused, and nobody waits for the last.
var barriers = map[string][]controller.BarrierView{ // scene → targets
	"purging": {
		{Region: "eu-west", Provider: "shield", Scope: "eu", Epoch: 2, Fence: cdn.StateAccepted, First: cdn.StateVerified, Second: cdn.StateIntended, PausedUntil: apitest.Start.Add(30 * time.Second), Sent: apitest.Start.Add(3100 * time.Millisecond)},
		{Region: "eu-west", Provider: "varnish", Scope: "eu-west", Tier: 1, Fence: cdn.StateAccepted, First: cdn.StateVerified, Second: cdn.StateSent, Repeats: 2, LastError: "vantage eu-west-probe saw generation edge-proxy.eu-west-1, want at least edge-proxy.eu-west-2"},
		{Region: "eu-west", Provider: "fastly", Scope: "SU1", Tier: 1, Fence: cdn.StateAccepted, NoFence: "scope SU1 has no dictionary in the configuration", First: cdn.StateAccepted},
		{Region: "eu-west", Provider: "cloudflare", Scope: "0123456789abcdef0123456789abcdef", Tier: 1, First: cdn.StateIntended, LastError: "answered 429: rate limited\nretry after 30s"},
		{Region: "eu-west", Provider: "partner", Scope: "cache", Tier: 1, Optional: true},
		{Region: "us-east", Provider: "varnish", Scope: "us-east", Tier: 1, First: cdn.StateVerified, Second: cdn.StateVerified},
	},
}

// What operators have to deal with, on a terminal of 80 columns.
func TestTreeScenes(t *testing.T) {
	var got strings.Builder
	for _, name := range apitest.Scenes() {
		text := tree{width: 80, barriers: barriers[name]}.render(rollout.Status(apitest.Scene(name)))
		for _, l := range strings.Split(text, "\n") {
			if w := lipgloss.Width(l); w > 80 || strings.HasSuffix(l, "…") {
				t.Errorf("%s: %d columns: %s", name, w, l)
			}
		}
		got.WriteString("── " + name + "\n" + text + "\n\n")
	}
	golden(t, "tree-scenes.golden", got.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Whatever the terminal's size, the picture stays inside of it, and the header is there.
func TestPictureFits(t *testing.T) {
	views := apitest.Film(rollout.StatusDone)
	for _, name := range []string{"gate", "emergency", "quarantine"} {
		s := apitest.Scene(name)
		views = append(views, controller.AppView{App: s.App, Summary: rollout.Status(s), Rollout: s.Rollout})
	}
	for _, v := range views {
		for _, color := range []bool{false, true} {
			for width := 20; width <= 140; width += 24 {
				for height := 3; height <= 40; height++ {
					p := picture{look: look{view: v}, size: tea.WindowSizeMsg{Width: width, Height: height}, color: color}
					text := p.View().Content
					if w, h := lipgloss.Size(text); w > width || h >= height {
						t.Fatalf("%d×%d: the picture has %d×%d:\n%s", width, height, w, h, text)
					}
					if !strings.Contains(text, "edge-proxy") && height > 3 {
						t.Fatalf("%d×%d: no header:\n%s", width, height, text)
					}
				}
			}
		}
	}
}

func TestPictureKeys(t *testing.T) {
	var m tea.Model = picture{look: look{view: apitest.Film(rollout.StatusDone)[0]}}
	for key, want := range map[rune]tea.Msg{'q': tea.QuitMsg{}, 'x': nil} {
		_, cmd := m.Update(tea.KeyPressMsg{Code: key, Text: string(key)})
		if got := run1(cmd); got != want {
			t.Errorf("key %c: %T, want %T", key, got, want)
		}
	}
	_, cmd := m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
	if _, ok := run1(cmd).(tea.InterruptMsg); !ok {
		t.Errorf("ctrl-c: %T", run1(cmd))
	}
	m, cmd = m.Update(finished{errReplaced})
	if _, ok := run1(cmd).(tea.QuitMsg); !ok || !errors.Is(m.(picture).reason, errReplaced) {
		t.Errorf("the end: %+v", m)
	}
	m, _ = picture{look: look{view: apitest.Film(rollout.StatusDone)[0]}}.Update(look{err: errors.New("cannot reach the controller")})
	if text := m.View().Content; !strings.Contains(text, "cannot reach the controller; trying again") {
		t.Errorf("a lost controller is not shown:\n%s", text)
	}
}

func run1(cmd tea.Cmd) tea.Msg {
	if cmd == nil {
		return nil
	}
	return cmd()
}

// What came over the network cannot move the cursor of a terminal, change its colours or turn
// the direction of a line.
func TestPlain(t *testing.T) {
	v := apitest.Film(rollout.StatusReverted)[4]
	g := v.Summary.Rollout.Waves[0].Regions[0]
	g.Agents[1].Error = "bad\x1b[2J\nthing\u009b1m\u202eé→\u2066\u2028z"
	g.Hold = &rollout.Hold{Kind: rollout.HoldSilent, Reason: "silent\x1b]0;x\x07", Overdue: true}
	g.Purge = &rollout.PurgeRecord{Failed: "no\rway"}
	v.Summary.Rollout.Waves[0].Regions[0] = g
	text := tree{width: 200}.render(v.Summary)
	if strings.ContainsAny(text, "\x1b\r\x07\u009b\u202e\u2066\u2028") {
		t.Errorf("control characters got through: %q", text)
	}
	for _, want := range []string{"bad [2J thing 1m é→ z", "an operator has to decide): silent ]0;x", "purge failed: no way"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

// The gap is that of the first purge of this epoch that really left for any target, not of
// an earlier epoch, and not of one that is still to be sent.
func TestPurgeSent(t *testing.T) {
	v := apitest.Film(rollout.StatusDone)[5] // purged
	r := &v.Summary.Rollout.Waves[0].Regions[0]
	r.Purge.Verified = time.Time{}
	at := func(epoch wire.Epoch, d time.Duration) controller.BarrierView {
		return controller.BarrierView{Region: r.Region, Provider: "cache", Epoch: epoch, Sent: r.Purge.Requested.Add(d)}
	}
	waiting := at(r.Purge.Epoch, 0)
	waiting.Sent = time.Time{}
	told := tree{width: 200, barriers: []controller.BarrierView{waiting, at(r.Purge.Epoch-1, time.Millisecond)}}
	if got := told.render(v.Summary); !strings.Contains(got, "purge sent – → verified –") || strings.Contains(got, "gap") {
		t.Errorf("nothing has left yet:\n%s", got)
	}
	told.barriers = append(told.barriers, at(r.Purge.Epoch, 2*time.Second), at(r.Purge.Epoch, 30*time.Millisecond))
	if got := told.render(v.Summary); !strings.Contains(got, "gap 42ms") { // 12 ms to the decision, 30 ms to the provider
		t.Errorf("the gap is not 42ms:\n%s", got)
	}
}

// Where there was no purge to wait for, no purge is shown as sent and verified; that of an earlier
// rollout is none of this one.
func TestNothingToPurge(t *testing.T) {
	for nothing, want := range map[time.Duration]string{
		time.Minute:  "confirmed +1m0s → no purge to wait for",
		-time.Minute: "confirmed +1m0s → purge sent – → verified –",
	} {
		at := apitest.Start.Add(nothing)
		region := rollout.RegionSummary{
			Region: "eu", Times: rollout.Times{Ordered: apitest.Start, Confirmed: apitest.Start.Add(time.Minute)},
			Purge: &rollout.PurgeRecord{Epoch: 2, Requested: at, Verified: at, Nothing: "no cdn is configured"},
		}
		if got := (tree{}).timeline(region, rollout.StrategyRolling); len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("%s after the order: %q, want %q", nothing, got, want)
		}
	}
}

// Every state an agent can be in has a look of its own.
func TestGlyphs(t *testing.T) {
	for _, s := range []wire.State{wire.StateStaging, wire.StateStaged, wire.StateArmed, wire.StateSwitching, wire.StateActive, wire.StateConfirmed,
		wire.StateCommitted, wire.StateFailed, wire.StateReverted, "drained", "silent", "waiting", "idle"} {
		if _, ok := agentGlyphs[string(s)]; !ok {
			t.Errorf("%s has no glyph", s)
		}
	}
	for _, s := range []rollout.RolloutStatus{rollout.StatusRunning, rollout.StatusPaused, rollout.StatusHolding, rollout.StatusReverting, rollout.StatusDone,
		rollout.StatusReverted, rollout.StatusAborted, rollout.StatusFailed, rollout.StatusSuperseded} {
		if _, ok := statusGlyphs[s]; !ok {
			t.Errorf("%s has no glyph", s)
		}
	}
	for _, v := range []rollout.Verdict{"", rollout.VerdictPass, rollout.VerdictFail, rollout.VerdictNone} {
		if _, ok := verdictGlyphs[v]; !ok {
			t.Errorf("verdict %q has no glyph", v)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0s", 12345 * time.Microsecond: "12ms", 1499 * time.Millisecond: "1.5s", 90*time.Second + 400*time.Millisecond: "1m30s"} {
		if got := span(d); got != want {
			t.Errorf("span(%d) = %s, want %s", d, got, want)
		}
	}
}

// On a narrow terminal a reason is still there to its last word, and every cut shows.
func TestNarrow(t *testing.T) {
	v := apitest.Film(rollout.StatusReverted)[4]
	v.Summary.Rollout.Reason = "taking the rollout back: cannot activate edge-proxy 1.4.0: probe /: answered 500, want 200"
	text := tree{width: 60}.render(v.Summary)
	if !strings.Contains(strings.Join(strings.Fields(text), " "), v.Summary.Rollout.Reason) {
		t.Errorf("the reason is cut:\n%s", text)
	}
	for _, l := range strings.Split(text, "\n") {
		if w := lipgloss.Width(l); w > 60 {
			t.Errorf("%d columns: %s", w, l)
		}
	}
	if !strings.Contains(text, "    → purge sent – → verified –\n") {
		t.Errorf("the purge is cut off:\n%s", text)
	}
	text = tree{width: 40}.render(v.Summary)
	if head, _, _ := strings.Cut(text, "\n"); !strings.HasSuffix(head, "…") {
		t.Errorf("cut without a sign: %s", head)
	}
	if id := v.Summary.Rollout.ID; !strings.Contains(text, id) {
		t.Errorf("%s is torn:\n%s", id, text)
	}
}
