package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// verdictGlyphs is the look of a gate's newest reading; none yet has none.
var verdictGlyphs = map[rollout.Verdict]glyph{
	"":                  {"·", grey},
	rollout.VerdictPass: {"✓", green},
	rollout.VerdictFail: {"✗", red},
	rollout.VerdictNone: {"?", yellow},
}

// waits draws what other than its agents a region waits for: its hold, its bake, its gates
// and the approvals it wants.
func (t tree) waits(r rollout.RegionSummary, now time.Time) []string {
	var lines []string
	if h := r.Hold; h != nil {
		lines = append(lines, t.wrap("    ", yellow, holdText(h, now))...)
	}
	if !r.BakesUntil.IsZero() {
		lines = append(lines, t.wrap("    ", nil, "bakes until "+moment(r.BakesUntil, now))...)
	}
	for _, rd := range r.Readings {
		g := verdictGlyphs[rd.Verdict]
		lines = append(lines, t.wrap("    ", g.color, g.sign+" gate "+readingText(rd))...)
	}
	if r.Approve > 0 {
		lines = append(lines, t.wrap("    ", nil, "approvals: "+approvalsText(r.Approvals, r.Approve))...)
	}
	return lines
}

// holdText says what a region waits for, until when, and why.
func holdText(h *rollout.Hold, now time.Time) string {
	return fmt.Sprintf("holds (%s, %s): %s", h.Kind, holdUntil(h, now), h.Reason)
}

func holdUntil(h *rollout.Hold, now time.Time) string {
	if h.Overdue {
		return fmt.Sprintf("overdue since %s: an operator has to decide", moment(h.Deadline, now))
	}
	return "until " + moment(h.Deadline, now)
}

func readingText(rd rollout.Reading) string {
	if rd.Verdict == "" {
		return rd.Gate + ": not answered yet"
	}
	text := rd.Gate + ": " + rd.Text
	if rd.Bad > 1 {
		text += fmt.Sprintf(", bad %d times in a row", rd.Bad)
	}
	return text
}

// approvalsText says how many approvals there are, and whose.
func approvalsText(given []rollout.Approval, wanted int) string {
	text := fmt.Sprintf("%d of %d", len(given), wanted)
	var names []string
	for _, a := range given {
		names = append(names, a.By)
	}
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	return text
}

// glassText says until when an emergency lasts, and whether it is approved.
func glassText(g *rollout.Glass, now time.Time) string {
	state := "until " + moment(g.Expires, now)
	if !now.Before(g.Expires) {
		state = "expired " + moment(g.Expires, now) // what was approved of it has to keep to its plan again
	}
	return fmt.Sprintf("emergency, %s, approvals %s", state, approvalsText(g.Approvals, rollout.GlassApprovals))
}

// quarantineText says whose bundles are not taken, why, and what takes them again.
func quarantineText(app wire.App, q rollout.Quarantined, now time.Time) string {
	why := ""
	if q.Reason != "" {
		why = ": " + q.Reason
	}
	return fmt.Sprintf("quarantine: bundles of %s by %s (not of other apps), since rollout %s failed at %s%s; the next start takes --acknowledge %[3]s",
		app, q.Source, q.Rollout, moment(q.At, now), why)
}
