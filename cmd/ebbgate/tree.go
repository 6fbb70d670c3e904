package main

import (
	"fmt"
	"image/color"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// tree draws a rollout: waves, in each its regions with their timeline, in each one cell
// for each agent. It is a pure function of a view.
type tree struct {
	width  int    // columns
	height int    // rows; 0: as many as it takes
	color  bool   // glyphs and words say the same without
	every  bool   // name the agents of a large region as well
	doubt  string // why what is drawn may be old
	// barriers are the targets of every region's CDN, from the origin outwards.
	barriers []controller.BarrierView
}

// namedCells is how many agents of a region are named; of a larger one each agent is a
// glyph, and only the failed ones are named.
const namedCells = 12

// glyph is how a state looks. No two states that matter differ by colour alone.
type glyph struct {
	sign  string
	color color.Color
}

var (
	green  = lipgloss.Color("2")
	yellow = lipgloss.Color("3")
	red    = lipgloss.Color("1")
	blue   = lipgloss.Color("4")
	grey   = lipgloss.Color("8")
)

// agentGlyphs is the look of each agent state, from "nothing yet" to "live".
var agentGlyphs = map[string]glyph{
	"idle":                      {"·", grey},
	"waiting":                   {"·", grey},
	"drained":                   {"–", grey},
	"silent":                    {"?", yellow},
	string(wire.StateStaging):   {"▁", blue},
	string(wire.StateStaged):    {"▃", blue},
	string(wire.StateArmed):     {"▅", blue},
	string(wire.StateSwitching): {"◐", yellow},
	string(wire.StateActive):    {"◑", yellow},
	string(wire.StateConfirmed): {"●", green},
	string(wire.StateCommitted): {"✓", green},
	string(wire.StateFailed):    {"✗", red},
	string(wire.StateReverted):  {"↩", red},
}

var statusGlyphs = map[rollout.RolloutStatus]glyph{
	rollout.StatusRunning:   {"▶", blue},
	rollout.StatusPaused:    {"‖", yellow},
	rollout.StatusHolding:   {"‖", yellow},
	rollout.StatusReverting: {"↩", red},
	rollout.StatusDone:      {"✓", green},
	rollout.StatusReverted:  {"↩", red},
	rollout.StatusAborted:   {"↩", red},
	rollout.StatusFailed:    {"✗", red},

	rollout.StatusSuperseded: {"»", yellow},
}

var waveGlyphs = map[string]glyph{
	"waiting":   {"·", grey},
	"current":   {"▶", blue},
	"passed":    {"✓", green},
	"committed": {"✓", green},
	"reverted":  {"↩", red},
	"dropped":   {"–", grey},
}

// waveState says more than the summary where all regions of a wave ended alike.
func waveState(w rollout.WaveSummary) string {
	count := make(map[rollout.RegionPhase]int)
	for _, r := range w.Regions {
		count[r.Phase]++
	}
	switch len(w.Regions) {
	case count[rollout.PhaseCommitted]:
		return "committed"
	case count[rollout.PhaseDropped]:
		return "dropped"
	case count[rollout.PhaseReverted] + count[rollout.PhaseDropped]:
		return "reverted"
	}
	return w.State
}

// render draws s. If it does not fit the height, waves that are not under way are
// folded first, and then what is left is cut.
func (t tree) render(s rollout.Summary) string {
	lines := t.lines(s, false)
	if t.height > 0 && len(lines) > t.height {
		lines = t.lines(s, true)
	}
	if t.height > 0 && len(lines) > t.height {
		more := len(lines) - t.height + 1
		lines = append(lines[:t.height-1], fmt.Sprintf("… %d more lines: see ebbgate rollout get %s", more, s.App))
	}
	for i := range lines {
		lines[i] = t.cut(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (t tree) lines(s rollout.Summary, fold bool) []string {
	r := s.Rollout
	if r == nil {
		lines := append([]string{t.bold(string(s.App)) + "  no rollout yet"}, t.doubts()...)
		for _, g := range s.Regions {
			lines = append(lines, "  "+string(g.Region)+"  runs "+orDash(string(g.Running)))
			if len(g.Others) > 0 {
				lines = append(lines, t.wrap("    ", yellow, othersText(g.Others))...)
			}
		}
		return lines
	}
	g := statusGlyphs[r.Status]
	took := s.At.Sub(r.Started)
	if !r.Ended.IsZero() {
		took = r.Ended.Sub(r.Started)
	}
	head := []string{t.bold(fmt.Sprintf("%s %s", s.App, r.Version)), t.paint(g.color, g.sign+" "+string(r.Status))}
	if !r.Status.Ended() {
		head = append(head, fmt.Sprintf("wave %d of %d", min(r.Wave+1, len(r.Waves)), len(r.Waves)))
	}
	head = append(head, span(took), r.Digest.Short())
	origin := fmt.Sprintf("rollout %s by %s", r.ID, r.By)
	if r.Source != "" {
		origin += ", a bundle of " + r.Source
	}
	if r.Undoes != "" {
		origin += ", undoes " + r.Undoes
	}
	lines := append([]string{strings.Join(head, "  ")}, t.doubts()...)
	lines = append(lines, t.wrap("  ", grey, origin)...)
	if r.Glass != nil {
		lines = append(lines, t.wrap("  ", red, "‼ "+glassText(r.Glass, s.At)+": "+r.Glass.Reason)...)
	}
	if r.Reason != "" {
		reason := r.Reason
		if r.Hold != nil && r.Hold.Kind == rollout.HoldOperator {
			reason = holdText(r.Hold, s.At)
		}
		lines = append(lines, t.wrap("  ", g.color, reason)...)
	}
	for _, q := range s.Quarantine {
		if q.Rollout == r.ID {
			q.Reason = "" // it is the line above
		}
		lines = append(lines, t.wrap("  ", yellow, "! "+quarantineText(s.App, q, s.At))...)
	}
	for i, w := range r.Waves {
		lines = append(lines, t.wave(i, w, s.At, fold && w.State != "current")...)
	}
	return lines
}

// doubts says why what is drawn may be old, if it may.
func (t tree) doubts() []string {
	if t.doubt == "" {
		return nil
	}
	return t.wrap("  ", yellow, "! "+t.doubt)
}

func (t tree) wave(i int, w rollout.WaveSummary, now time.Time, fold bool) []string {
	state := waveState(w)
	g := waveGlyphs[state]
	head := fmt.Sprintf("%s wave %d · %s · %s", g.sign, i+1, state, w.Strategy)
	if fold {
		agents := 0
		var names []string
		for _, r := range w.Regions {
			agents += r.Counts.Total
			names = append(names, string(r.Region))
		}
		return []string{t.paint(g.color, fmt.Sprintf("%s · %s · %s", head, strings.Join(names, " "), rollout.Plural(agents, "agent")))}
	}
	lines := []string{t.paint(g.color, head)}
	for _, r := range w.Regions {
		lines = append(lines, t.region(r, w.Strategy, now)...)
	}
	return lines
}

func (t tree) region(r rollout.RegionSummary, s rollout.Strategy, now time.Time) []string {
	phase := string(r.Phase)
	if phase == "" {
		phase = "waiting"
	}
	head := []string{t.bold(fmt.Sprintf("%-12s", r.Region)), fmt.Sprintf("%-10s", phase)}
	if r.Step > 0 {
		head = append(head, fmt.Sprintf("step %d of %d", r.Step, r.Steps))
	}
	if r.Next != "" {
		if r.Next == r.Running {
			head = append(head, "back to "+string(r.Next))
		} else {
			head = append(head, fmt.Sprintf("%s → %s", orNone(r.Running), r.Next))
		}
	} else if r.Running != "" {
		head = append(head, "runs "+string(r.Running))
	}
	if r.Epoch > 0 {
		head = append(head, "epoch "+r.Epoch.String())
	}
	lines := []string{"  " + strings.Join(append(head, t.counts(r)), "  ")}
	if t.width > 0 && lipgloss.Width(lines[0]) > t.width {
		lines = []string{"  " + strings.Join(head, "  "), "    " + t.counts(r)}
	}
	if len(r.Others) > 0 {
		lines = append(lines, t.wrap("    ", yellow, othersText(r.Others))...)
	}
	lines = append(lines, t.timeline(r, s)...)
	lines = append(lines, t.waits(r, now)...)
	lines = append(lines, t.targets(r)...)
	if r.Purge != nil && r.Purge.Failed != "" {
		lines = append(lines, t.wrap("    ", red, "purge failed: "+r.Purge.Failed)...)
	}
	return append(lines, t.cells(r)...)
}

// othersText says that a region is mixed, and how.
func othersText(others []rollout.RunSummary) string {
	parts := make([]string, len(others))
	for i, o := range others {
		parts[i] = fmt.Sprintf("%s on %s", o.Version, rollout.Plural(o.Agents, "agent"))
	}
	return "also runs " + strings.Join(parts, ", ")
}

// counts says how far the agents of a region have come in what it does.
func (t tree) counts(r rollout.RegionSummary) string {
	c := r.Counts
	n, done := c.Confirmed, "confirmed"
	switch r.Phase {
	case rollout.PhaseStaging:
		n, done = c.Staged, "staged"
	case rollout.PhaseArming:
		n, done = c.Armed, "armed"
	}
	parts := []string{fmt.Sprintf("%d/%d %s", n, c.Total-c.Drained, done)}
	if c.InFlight > 0 {
		parts = append(parts, fmt.Sprintf("%d in flight", c.InFlight))
	}
	if c.Failed > 0 {
		parts = append(parts, t.paint(red, fmt.Sprintf("%d failed", c.Failed)))
	}
	if c.Silent > 0 {
		parts = append(parts, t.paint(yellow, fmt.Sprintf("%d silent", c.Silent)))
	}
	return strings.Join(parts, ", ")
}

// cells draws one cell for each agent, and a line for the error of each failed one.
func (t tree) cells(r rollout.RegionSummary) []string {
	var lines []string
	var line strings.Builder
	flush := func() {
		if line.Len() > 0 {
			lines = append(lines, "    "+line.String())
			line.Reset()
		}
	}
	named, used := t.every || len(r.Agents) <= namedCells, 0
	for _, a := range r.Agents {
		g, known := agentGlyphs[a.State]
		if !known {
			g = glyph{"?", grey}
		}
		text, gap := g.sign, 0
		if named {
			text, gap = fmt.Sprintf("%s %s %s", g.sign, a.ID, a.State), 3
			if a.Version != "" && a.Version != r.Running && a.Version != r.Next {
				text += ", runs " + string(a.Version)
			}
		}
		if wide := lipgloss.Width(text); used > 0 && used+gap+wide > t.width-4 {
			flush()
			used = 0
		} else if used > 0 {
			line.WriteString(strings.Repeat(" ", gap))
			used += gap
		}
		line.WriteString(t.paint(g.color, text))
		used += lipgloss.Width(text)
	}
	flush()
	if !named {
		lines = append(lines, "    "+legend(r.Agents))
	}
	for _, a := range r.Agents {
		if a.Error != "" {
			lines = append(lines, t.wrap("    ", red, fmt.Sprintf("%s %s: %s", a.ID, a.State, a.Error))...)
		}
	}
	return lines
}

// legend counts the glyphs of a large region in words.
func legend(agents []rollout.AgentSummary) string {
	count := make(map[string]int)
	for _, a := range agents {
		count[a.State]++
	}
	var parts []string
	for _, state := range wire.Keys(count) {
		parts = append(parts, fmt.Sprintf("%s %d %s", agentGlyphs[state].sign, count[state], state))
	}
	return strings.Join(parts, "   ")
}

// timeline writes when a region passed each point, counted from the order to stage, and
// the gap between the last confirmation and the first purge that left for a provider.
// Where no call is known any more, the purge counts as sent when it was decided. A blue-green
// region has two more: when all had armed it, and how far apart they switched. On a narrow
// terminal the purge has a line of its own.
func (t tree) timeline(r rollout.RegionSummary, s rollout.Strategy) []string {
	if r.Times.Ordered.IsZero() {
		return nil
	}
	var sent, verified time.Time
	if r.Purge != nil {
		sent, verified = t.sent(r.Region, r.Purge.Epoch), r.Purge.Verified
		if sent.IsZero() && !verified.IsZero() {
			sent = r.Purge.Requested
		}
	}
	point := func(name string, at time.Time) string {
		if at.IsZero() || at.Before(r.Times.Ordered) {
			return name + " –"
		}
		return name + " +" + span(at.Sub(r.Times.Ordered))
	}
	switched := []string{point("staged", r.Times.Staged)}
	if s == rollout.StrategyBlueGreen {
		switched = append(switched, point("armed", r.Times.Armed))
	}
	switched = append(switched, point("activated", r.Times.Activated), point("confirmed", r.Times.Confirmed))
	if s == rollout.StrategyBlueGreen && r.Skew > 0 && !r.Times.Confirmed.IsZero() {
		switched = append(switched[:len(switched)-1], switched[len(switched)-1]+" (skew "+span(r.Skew.Std())+")")
	}
	purged := []string{point("purge sent", sent), point("verified", verified)}
	if !r.Times.Confirmed.IsZero() && !sent.Before(r.Times.Confirmed) {
		purged[1] += "   gap " + span(sent.Sub(r.Times.Confirmed))
	}
	if r.Purge != nil && r.Purge.Nothing != "" && !verified.Before(r.Times.Ordered) {
		purged = []string{"no purge to wait for"}
	}
	first, second := strings.Join(switched, " → "), strings.Join(purged, " → ")
	line := "    " + first + " → " + second
	if t.width <= 0 || lipgloss.Width(line) <= t.width {
		return []string{line}
	}
	return []string{"    " + first, "    → " + second}
}
