package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

// TestReport holds what the controller is told in every situation of a change from
// release a at epoch 3 to b at epoch 4.
func TestReport(t *testing.T) {
	ordered := wire.Order{Base: base(tgt(3, a, "3")), Next: next(tgt(4, b, "4"))}
	begun := func(live time.Time) func(*Local) {
		return func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 1, Began: t0, Live: live} }
	}
	fails := func(f Failure) map[wire.Digest]Failure { return map[wire.Digest]Failure{b: f} }
	for _, tc := range []struct {
		name  string
		order wire.Order
		local Local
		sight Sight
		run   string // epoch, state, error, crashes
		next  string
	}{
		{"nothing runs, nothing ordered", wire.Order{}, Local{}, Sight{}, "", ""},
		{"runs", wire.Order{}, running(), Sight{Proven: true}, "3 committed", ""},
		{"not soaked", wire.Order{}, running(func(l *Local) { l.Committed = false }), Sight{Proven: true}, "3 confirmed", ""},
		{"not read back since the start", wire.Order{}, running(), Sight{}, "3 active", ""},
		{"sick", wire.Order{}, running(func(l *Local) { l.Sick = "500" }), Sight{Proven: true}, "3 committed: 500", ""},
		{"crashed", wire.Order{}, running(func(l *Local) { l.Crashes = 2 }), Sight{Proven: true}, "3 committed, crashes 2", ""},
		{"crashed more than a report can say", wire.Order{}, running(func(l *Local) { l.Crashes = 5000 }), Sight{Proven: true}, "3 committed, crashes 1000", ""},
		{"runs what is ordered", wire.Order{Next: next(tgt(3, a, "3"))}, running(), Sight{Proven: true}, "3 committed", ""},
		{"must converge", wire.Order{Base: base(tgt(4, b, "4"))}, running(), Sight{Proven: true}, "3 committed", "4 staged"},

		{"fetching", ordered, running(func(l *Local) { l.Staged = staged(a) }), Sight{Proven: true}, "3 committed", "4 staging"},
		{"fetching fails", ordered, running(func(l *Local) { l.Staged = staged(a) }), Sight{Proven: true, Failed: fails(Failure{"no connection", false})}, "3 committed", "4 staging: no connection"},
		{"does not validate", ordered, running(func(l *Local) { l.Staged = staged(a) }), Sight{Proven: true, Failed: fails(Failure{"nginx -t", true})}, "3 committed", "4 failed: nginx -t"},
		{"staged", ordered, running(), Sight{Proven: true}, "3 committed", "4 staged"},
		{"armed", ordered, running(func(l *Local) { l.Armed = b }), Sight{Proven: true}, "3 committed", "4 armed"},
		{"refused", ordered, running(func(l *Local) { l.Floor = "5" }), Sight{Proven: true}, "3 committed", "4 failed: version 4 is below the floor 5"},
		{"switching", ordered, running(begun(time.Time{})), Sight{Proven: true}, "3 committed", "4 switching"},
		{"crashed in the switch", ordered, running(begun(time.Time{}), func(l *Local) { l.Crashes = 1 }), Sight{Proven: true}, "3 committed", "4 switching"},
		{"switched after a crash", ordered, running(begun(t0), func(l *Local) { l.Crashes = 1 }), Sight{Proven: true}, "4 active, crashes 1", ""},
		{"switched", ordered, running(begun(t0)), Sight{Proven: true}, "4 active", ""},
		{"going back", ordered, running(begun(t0), func(l *Local) { l.Fail(t0, "probe") }), Sight{Proven: true}, "3 committed: going back: probe", "4 switching: probe"},
		{"back", ordered, running(begun(t0), func(l *Local) { l.Fail(t0, "probe"); l.Returned(t0, true) }), Sight{Proven: true}, "3 committed", "4 reverted: probe"},
		{"spoiled", ordered, running(func(l *Local) { l.Spoil(tgt(4, b, "4"), "nginx -t") }), Sight{Proven: true}, "3 committed", "4 failed: nginx -t"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Report(tc.order, tc.local, tc.sight, Steps(tc.order, tc.local, t0))
			var run, next string
			if p := r.Running; p != nil {
				if run = said(p.Epoch, p.State, p.Error); p.Crashes > 0 {
					run += fmt.Sprintf(", crashes %d", p.Crashes)
				}
			}
			if p := r.Next; p != nil {
				next = said(p.Epoch, p.State, p.Error)
			}
			if d := cmp.Diff([]string{tc.run, tc.next}, []string{run, next}); d != "" {
				t.Error(d)
			}
			whole := wire.Report{Fleet: "f", Region: "r", Agent: me, Incarnation: 1, Sequence: 1, Apps: map[wire.App]wire.AppReport{"web": r}}
			if err := whole.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func said(e wire.Epoch, s wire.State, err string) string {
	if err != "" {
		err = ": " + err
	}
	return fmt.Sprintf("%d %s%s", e, s, err)
}
