package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// soakedTwice returns a node that runs c at epoch 3, fresh, after b and a have soaked.
func soakedTwice(f func(*Local)) Local {
	l := Local{Agent: me, Staged: staged(a, b, c)}
	for i, d := range []wire.Digest{a, b, c} {
		l.Begin(*rel(wire.Epoch(i+1), d, wire.Version("123"[i:i+1])), t0)
		l.Switched(t0)
		l.Confirm(t0)
		if d != c {
			l.Commit()
		}
	}
	f(&l)
	return l
}

// TestCrashLoops starts an agent without an order, for want of a network, that crashes 20
// times. The versions it serves one after the other must end: each loop makes what it
// leaves bad, and what is bad is no place to go back to.
func TestCrashLoops(t *testing.T) {
	everywhere := func(Step) bool { return true }
	for _, tc := range []struct {
		name  string
		every time.Duration          // from crash to crash
		dies  func(doing Step) bool  // in the middle of the step; else after it
		local func(*Local)           // before the first crash
		want  string                 // what was served
		bad   map[wire.Digest]string // marks, with a part of the reason
	}{
		{"the newest, then the last known good", time.Second, nil, func(*Local) {}, "3 2 1", map[wire.Digest]string{c: "3 times", b: "activation of 2"}},
		{"each while it is being put to service", time.Second, everywhere, func(*Local) {}, "3 2 1", map[wire.Digest]string{c: "3 times", b: "went back to 2"}},
		{"on the way back from what is damaged, however slowly", time.Hour, everywhere, func(l *Local) { delete(l.Staged, c) }, "3 2 1", map[wire.Digest]string{b: "went back to 2"}},
		{"in the switch", time.Second, func(s Step) bool { return s.Kind == Activate }, func(l *Local) {
			l.Begin(*rel(4, wire.DigestOf([]byte("d")), "4"), t0)
			l.Staged[l.Switch.To.Digest] = true
		}, "3 2 1",
			map[wire.Digest]string{wire.DigestOf([]byte("d")): "interrupted", c: "3 times", b: "3 times"}},
		{"the second soaked one is damaged", time.Second, nil, func(l *Local) { delete(l.Staged, a) }, "3 2", map[wire.Digest]string{c: "3 times"}},
		{"the floor", time.Second, nil, func(l *Local) { l.Floor = "2" }, "3 2", map[wire.Digest]string{c: "3 times"}},
		{"the last known good is bad already", time.Second, nil, func(l *Local) { l.mark(Mark{b, 2, wire.StateReverted, "probe"}) }, "3 1", map[wire.Digest]string{c: "3 times", b: "probe"}},
		{"too slow to be a loop", 2 * CrashWindow, nil, func(*Local) {}, "3", nil},
		{"a clock far behind the activation", 2 * CrashWindow, nil, func(l *Local) { l.Fresh = t0.Add(365 * 24 * time.Hour) }, "3", nil},
		{"what somebody on the node chose", time.Second, nil, func(l *Local) { l.Rollback(l.Undo(l.Staged), wire.Order{}, t0); l.Returned(t0, true) }, "2", nil},
		{"what somebody on the node chose, on the way there", time.Second, everywhere, func(l *Local) { l.Rollback(l.Undo(l.Staged), wire.Order{}, t0) }, "2", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, now := soakedTwice(tc.local), t0
			served := []string{string(l.Serving().Version)}
			for range 20 {
				now = now.Add(tc.every)
				l.Started(now, false, CrashWindow)
				l.Armed, l.Drift = wire.Digest{}, "has not been asked"
				for _, s := range Steps(wire.Order{}, l, now) {
					switch s.Kind {
					case Revert:
						l.TurnBack(s, now)
						if tc.dies == nil || !tc.dies(s) {
							l.Returned(now, true)
						}
					case Activate:
						l.Begin(*rel(s.Target.Epoch, s.Target.Digest, s.Target.Version), now)
					}
					if v := string(l.Serving().Version); v != served[len(served)-1] {
						served = append(served, v)
					}
					break // it dies
				}
			}
			if got := strings.Join(served, " "); got != tc.want {
				t.Errorf("served %s, want %s", got, tc.want)
			}
			for _, m := range l.Bad {
				if why := tc.bad[m.Digest]; why == "" || !strings.Contains(m.Reason, why) {
					t.Errorf("marked bad: epoch %d, %q", m.Epoch, m.Reason)
				}
			}
			if len(l.Bad) != len(tc.bad) {
				t.Errorf("%d marks, want %d", len(l.Bad), len(tc.bad))
			}
			if tc.want == "3 2 1" && l.LKG().Digest != a {
				t.Errorf("last known good is %s", l.LKG().Version)
			}
		})
	}
}
