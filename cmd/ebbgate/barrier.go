package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// targets says how far the purge of a region is at each target of its CDN, from the origin
// outwards, while it is under way or cannot go on; later, which it left behind.
func (t tree) targets(r rollout.RegionSummary) (lines []string) {
	if r.Purge == nil {
		return nil
	}
	over := !r.Purge.Verified.IsZero() || r.Phase == rollout.PhaseIdle
	for _, b := range t.barriers {
		switch {
		case b.Region != r.Region:
		case over && b.LeftBehind != "":
			lines = append(lines, t.wrap("    ", yellow, "left behind: "+barrierText(b))...)
		case !over:
			lines = append(lines, t.wrap("    ", nil, barrierText(b))...)
		}
	}
	return lines
}

// sent returns when the first purge of a region's epoch left for a provider; zero: none did.
func (t tree) sent(region wire.Region, epoch wire.Epoch) (first time.Time) {
	for _, b := range t.barriers {
		if b.Region == region && b.Epoch == epoch && !b.Sent.IsZero() && (first.IsZero() || b.Sent.Before(first)) {
			first = b.Sent
		}
	}
	return first
}

func barrierText(b controller.BarrierView) string {
	parts := []string{}
	for _, p := range []struct {
		what string
		s    cdn.State
	}{{"fence", b.Fence}, {"purge", b.First}, {"again", b.Second}} {
		switch {
		case p.what == "fence" && b.NoFence != "":
			parts = append(parts, "no fence ("+b.NoFence+")")
		case p.s != "":
			parts = append(parts, p.what+" "+string(p.s))
		}
	}
	if len(parts) == 0 {
		parts = []string{"not asked yet"}
	}
	text := b.Provider + "/" + b.Scope
	if b.Optional {
		text += " (optional)"
	}
	text += ": " + strings.Join(parts, " → ")
	if b.Repeats > 0 {
		text += fmt.Sprintf(", repeated %d×", b.Repeats)
	}
	if !b.PausedUntil.IsZero() {
		text += ", waits until " + when(b.PausedUntil) + " (the account is rate limited)"
	}
	if b.LastError != "" && b.Second != cdn.StateVerified {
		text += ": " + b.LastError
	}
	return text
}
