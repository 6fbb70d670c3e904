package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Kind says what was decided.
type Kind string

// The kinds of decision.
const (
	KindStart    Kind = "start"    // a rollout
	KindStage    Kind = "stage"    // all live agents of a region have it staged
	KindArm      Kind = "arm"      // all agents of a region preload it
	KindActivate Kind = "activate" // the first agents of a region may switch
	KindWiden    Kind = "widen"    // more agents may switch
	KindStep     Kind = "step"     // a step is confirmed, or its bake over
	KindConfirm  Kind = "confirm"  // every serving agent of a region confirmed
	KindHold     Kind = "hold"     // wait
	KindUnhold   Kind = "unhold"   // go on
	KindPurge    Kind = "purge"    // request a purge round
	KindBarrier  Kind = "barrier"  // a purge round is verified
	KindCommit   Kind = "commit"   // a region's target is its base
	KindPromote  Kind = "promote"  // the next wave
	KindRevert   Kind = "revert"   // take back
	KindGate     Kind = "gate"     // a gate's verdict has changed
	KindApprove  Kind = "approve"  // a person approved
	KindPause    Kind = "pause"
	KindResume   Kind = "resume"
	KindAbort    Kind = "abort"
	KindDone     Kind = "done" // the end, whichever
)

// Decision is one thing decided, with all that led to it.
type Decision struct {
	N      uint64            `json:"n"` // ascending from 1 over the app's life
	At     time.Time         `json:"at"`
	Kind   Kind              `json:"kind"`
	Wave   int               `json:"wave"` // index
	Region wire.Region       `json:"region,omitempty"`
	Epoch  wire.Epoch        `json:"epoch,omitempty"`
	Reason string            `json:"reason"`           // a sentence
	Inputs map[string]string `json:"inputs,omitempty"` // name → exact value
}

// Explain tells the decisions of the active or last rollout, oldest first, one a line: when,
// where, what and why, and the exact inputs; then what holds it now, which may be long after
// the last decision.
func Explain(s State) []string {
	if s.Rollout == nil {
		return nil
	}
	var lines []string
	if first := s.Rollout.Decisions; len(first) > 0 && first[0].Kind != KindStart {
		lines = append(lines, fmt.Sprintf("decisions before %d are in the audit log", first[0].N))
	}
	for _, d := range s.Rollout.Decisions {
		lines = append(lines, d.String())
	}
	return append(lines, s.holding()...)
}

// holding tells what holds the rollout now, one a line.
func (s State) holding() (lines []string) {
	if s.active() == nil {
		return nil
	}
	tell := func(who string, h *Hold) {
		if h == nil {
			return
		}
		until := "until"
		if h.Overdue {
			until = "overdue since"
		}
		lines = append(lines, fmt.Sprintf("now: %s holds (%s) since %s, %s %s: %s", who, h.Kind, h.Since.UTC().Format(time.RFC3339), until, h.Deadline.UTC().Format(time.RFC3339), h.Reason))
	}
	if s.Rollout.Paused {
		lines = append(lines, fmt.Sprintf("now: the rollout is %s; resume lets it go on", s.Rollout.paused()))
	}
	tell("the rollout", s.told(s.Rollout.halted()))
	for _, r := range wire.Keys(s.Regions) {
		tell(string(r), s.told(s.Regions[r].Hold))
	}
	return lines
}

// paused says who paused the rollout and since when, while its decisions go back that far.
func (ro *Rollout) paused() string {
	for _, d := range slices.Backward(ro.Decisions) {
		if d.Kind == KindPause {
			return fmt.Sprintf("%s since %s", d.Reason, d.At.UTC().Format(time.RFC3339))
		}
	}
	return "paused"
}

// String returns the decision as one line.
func (d Decision) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d wave %d", d.At.UTC().Format(time.RFC3339), d.N, d.Wave+1)
	if d.Region != "" {
		fmt.Fprintf(&b, " %s epoch %d", d.Region, d.Epoch)
	}
	fmt.Fprintf(&b, " %s: %s", d.Kind, d.Reason)
	for i, k := range wire.Keys(d.Inputs) {
		sep := ", "
		if i == 0 {
			sep = " ("
		}
		fmt.Fprintf(&b, "%s%s=%s", sep, k, d.Inputs[k])
	}
	if len(d.Inputs) > 0 {
		b.WriteString(")")
	}
	return b.String()
}
