package main

import (
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// barrierLines says how far the purge of each region is at each target of its CDN, from the
// origin outwards, while it is under way or cannot go on.
func barrierLines(v controller.AppView) map[wire.Region][]string {
	open := make(map[wire.Region]bool)
	for _, r := range v.Summary.Regions {
		open[r.Region] = r.Purge != nil && r.Purge.Verified.IsZero() && r.Phase != rollout.PhaseIdle
	}
	lines := make(map[wire.Region][]string)
	for _, b := range v.Barriers {
		if open[b.Region] {
			lines[b.Region] = append(lines[b.Region], barrierLine(b))
		}
	}
	return lines
}

func barrierLine(b controller.BarrierView) string {
	parts := []string{}
	for _, p := range []struct {
		what string
		s    cdn.State
	}{{"fence", b.Fence}, {"purge", b.First}, {"again", b.Second}} {
		if p.s != "" {
			parts = append(parts, p.what+" "+string(p.s))
		}
	}
	if len(parts) == 0 {
		parts = []string{"not asked yet"}
	}
	line := fmt.Sprintf("    %s/%s  %s", b.Provider, b.Scope, strings.Join(parts, " → "))
	if b.Repeats > 0 {
		line += fmt.Sprintf("  repeated %d times", b.Repeats)
	}
	if b.Optional {
		line += "  optional"
	}
	if b.LastError != "" && b.Second != cdn.StateVerified {
		line += "  " + plain(b.LastError)
	}
	return line
}
