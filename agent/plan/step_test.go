package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

var (
	t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a  = wire.DigestOf([]byte("a"))
	b  = wire.DigestOf([]byte("b"))
	c  = wire.DigestOf([]byte("c"))
)

const me = wire.AgentID("n1")

func tgt(e wire.Epoch, d wire.Digest, v wire.Version) wire.Target {
	return wire.Target{Epoch: e, Digest: d, Version: v, Soak: wire.Duration(time.Minute)}
}

func rel(e wire.Epoch, d wire.Digest, v wire.Version) *Release {
	return &Release{Epoch: e, Digest: d, Version: v}
}

func base(t wire.Target) *wire.Target { return &t }

// next returns an activation of t for everybody, changed by f.
func next(t wire.Target, f ...func(*wire.Transit)) *wire.Transit {
	n := &wire.Transit{Target: t, Phase: wire.PhaseActivate, Cohort: wire.Cohort{CutOff: wire.AllScores}}
	for _, g := range f {
		g(n)
	}
	return n
}

func staged(ds ...wire.Digest) map[wire.Digest]bool {
	m := make(map[wire.Digest]bool)
	for _, d := range ds {
		m[d] = true
	}
	return m
}

// running returns a node that runs release a at epoch 3, committed, with b on disk too.
func running(f ...func(*Local)) Local {
	l := Local{Agent: me, Staged: staged(a, b)}
	l.State = State{Running: rel(3, a, "3"), Since: t0.Add(-time.Hour), Confirmed: t0.Add(-time.Hour), Committed: true,
		Soaked: []Release{*rel(3, a, "3")}, Highest: Mark{Digest: a, Epoch: 3}}
	for _, g := range f {
		g(&l)
	}
	return l
}

func TestSteps(t *testing.T) {
	noCohort := func(n *wire.Transit) { n.Cohort = wire.Cohort{} }
	named := func(n *wire.Transit) { n.Cohort = wire.Cohort{Named: []wire.AgentID{me}} }
	stageOnly := func(n *wire.Transit) { n.Phase = wire.PhaseStage }
	base3, next4 := base(tgt(3, a, "3")), tgt(4, b, "4")
	for _, tc := range []struct {
		name  string
		order wire.Order
		local Local
		want  string // kinds with versions
		why   string // part of the last reason
	}{
		{"nothing ordered, nothing runs", wire.Order{}, Local{Agent: me}, "wait", "nothing is ordered"},
		{"nothing ordered, goes on", wire.Order{}, running(), "wait", "serves 3"},
		{"first order", wire.Order{Next: next(next4)}, Local{Agent: me}, "stage 4, activate 4", "epoch 4"},
		{"staged already", wire.Order{Base: base3, Next: next(next4)}, running(), "activate 4", ""},
		{"outside the cohort", wire.Order{Base: base3, Next: next(next4, noCohort)}, running(func(l *Local) { l.Staged = staged(a) }), "stage 4, wait, wait", ""},
		{"named", wire.Order{Base: base3, Next: next(next4, named)}, running(), "activate 4", ""},
		{"stage only, in the cohort: armed", wire.Order{Base: base3, Next: next(next4, stageOnly)}, running(), "arm 4, wait, wait", ""},
		{"stage only, armed", wire.Order{Base: base3, Next: next(next4, stageOnly)}, running(func(l *Local) { l.Armed = b }), "wait, wait", ""},
		{"stage only, outside", wire.Order{Base: base3, Next: next(next4, stageOnly, noCohort)}, running(), "wait, wait", ""},
		{"too early", wire.Order{Base: base3, Next: next(next4, func(n *wire.Transit) { n.NotBefore = t0.Add(time.Second) })}, running(), "arm 4, wait, wait", ""},
		{"in time", wire.Order{Base: base3, Next: next(next4, func(n *wire.Transit) { n.NotBefore, n.Expires = t0, t0 })}, running(), "activate 4", ""},
		{"expired", wire.Order{Base: base3, Next: next(next4, func(n *wire.Transit) { n.Expires = t0.Add(-1) })}, running(), "refuse 4, wait", ""},
		{"expired while it runs", wire.Order{Base: base3, Next: next(tgt(3, a, "3"), func(n *wire.Transit) { n.Expires = t0.Add(-1) })}, running(), "wait", ""},

		{"returning agent converges", wire.Order{Base: base(next4)}, running(), "activate 4", ""},
		{"revert under way, outside its cohort: keeps", wire.Order{Base: base(tgt(2, b, "2")), Next: next(tgt(4, b, "2"), noCohort)}, running(), "wait, wait, wait", ""},
		{"revert under way, inside", wire.Order{Base: base(tgt(2, b, "2")), Next: next(tgt(4, b, "2"))}, running(), "activate 2", ""},
		{"older epoch", wire.Order{Next: next(tgt(2, b, "4"))}, running(), "refuse 4, wait", ""},
		{"same epoch, other digest", wire.Order{Next: next(tgt(3, b, "4"))}, running(), "refuse 4, wait", ""},
		{"same epoch, other digest, in base", wire.Order{Base: base(tgt(3, b, "4"))}, running(), "refuse 4, wait", ""},
		{"same digest, newer epoch", wire.Order{Next: next(tgt(4, a, "3"))}, running(), "activate 3", ""},
		{"below the floor", wire.Order{Base: base3, Next: next(next4)}, running(func(l *Local) { l.Floor = "4.1" }), "refuse 4, wait", ""},
		{"bad at this epoch", wire.Order{Base: base3, Next: next(next4)}, running(func(l *Local) { l.Bad = []Mark{{Digest: b, Epoch: 4, Reason: "x"}} }), "refuse 4, wait", ""},
		{"bad at an older epoch", wire.Order{Base: base3, Next: next(tgt(5, b, "4"))}, running(func(l *Local) { l.Bad = []Mark{{Digest: b, Epoch: 4}} }), "activate 4", ""},

		{"soaks", wire.Order{Base: base3}, running(func(l *Local) { l.Committed, l.Confirmed = false, t0 }), "wait", "soaks until"},
		{"soaked", wire.Order{Base: base3}, running(func(l *Local) { l.Committed = false }), "commit 3", "soaked"},
		{"soaked but sick", wire.Order{Base: base3}, running(func(l *Local) { l.Committed, l.Sick = false, "500" }), "wait", "500"},
		{"not the region's base", wire.Order{Base: base(tgt(2, b, "2"))}, running(func(l *Local) { l.Committed = false }), "wait, wait", "serves"},

		{"drift", wire.Order{}, running(func(l *Local) { l.Drift = "serves nothing" }), "repair 3, wait", ""},
		{"drift comes before what needs the network", wire.Order{Base: base3, Next: next(tgt(4, c, "4"))}, running(func(l *Local) { l.Drift = "serves nothing" }), "repair 3, stage 4, activate 4", ""},
		{"damaged, offered", wire.Order{Base: base3}, running(func(l *Local) { l.Staged = staged(b) }), "stage 3, wait", ""},
		{"damaged, not offered", wire.Order{}, running(func(l *Local) { l.Staged, l.Previous = staged(b), rel(2, b, "2") }), "revert 2, wait", ""},

		{"switch interrupted", wire.Order{}, running(func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 1} }), "activate 4", "interrupted"},
		{"switch interrupted twice", wire.Order{}, running(func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 2} }), "revert 3", "2 times"},
		{"switch damaged", wire.Order{}, running(func(l *Local) { l.Switch, l.Staged = &Switch{To: *rel(4, b, "4"), Attempt: 1}, staged(a) }), "revert 3", "damaged"},
		{"switch interrupted twice, what runs is damaged", wire.Order{}, running(func(l *Local) {
			l.Switch, l.Staged, l.Previous = &Switch{To: *rel(4, b, "4"), Attempt: 2}, staged(b, c), rel(2, c, "2")
		}), "revert 2", "2 times"},
		{"switch interrupted twice, nothing is whole", wire.Order{}, running(func(l *Local) { l.Switch, l.Staged = &Switch{To: *rel(4, b, "4"), Attempt: 2}, staged(b) }), "revert 3", "2 times"},
		{"crashes in the switch, what runs is damaged", wire.Order{}, running(func(l *Local) {
			l.Switch, l.Staged, l.Previous, l.Crashes = &Switch{To: *rel(4, b, "4"), Attempt: 1}, staged(b, c), rel(2, c, "2"), 3
		}), "revert 2", "crashed 3 times"},
		{"switch superseded", wire.Order{Next: next(tgt(5, a, "3"))}, running(func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 1} }), "activate 3", "epoch 5"},
		{"switch before what must be fetched", wire.Order{Next: next(tgt(5, c, "5"))}, running(func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 1} }), "activate 4", ""},
		{"the order expired in the middle of the switch", wire.Order{Base: base3, Next: next(next4, func(n *wire.Transit) { n.Expires = t0.Add(-1) })}, running(func(l *Local) { l.Switch = &Switch{To: *rel(4, b, "4"), Attempt: 1} }), "activate 4", "interrupted"},
		{"going back", wire.Order{Next: next(next4)}, running(func(l *Local) { l.Back = &Back{To: rel(3, a, "3"), Reason: "probe"} }), "revert 3", "probe"},
		{"going back to nothing", wire.Order{}, Local{State: State{Back: &Back{Reason: "probe"}}}, "revert", "probe"},

		{"crashes", wire.Order{}, running(func(l *Local) { l.Crashes, l.Previous = 3, rel(2, b, "2") }), "revert 2", "crashed 3 times"},
		{"too few crashes", wire.Order{}, running(func(l *Local) { l.Crashes, l.Previous = 2, rel(2, b, "2") }), "wait", ""},
		{"crashes without a way back", wire.Order{}, running(func(l *Local) { l.Crashes = 3 }), "wait", ""},
		{"crashes, the way back is below the floor", wire.Order{}, running(func(l *Local) { l.Crashes, l.Previous, l.Floor = 3, rel(2, b, "2"), "3" }), "wait", ""},

		{"pinned", wire.Order{Base: base(next4)}, running(func(l *Local) { l.Pinned = 4 }), "wait, wait", ""},
		{"pinned, next is old", wire.Order{Next: next(next4)}, running(func(l *Local) { l.Pinned = 4 }), "wait, wait", ""},
		{"pin ended by a newer epoch", wire.Order{Next: next(tgt(5, b, "4"))}, running(func(l *Local) { l.Pinned = 4 }), "activate 4", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			steps := Steps(tc.order, tc.local, t0)
			var got []string
			for _, s := range steps {
				k := string(s.Kind)
				if s.Target.Version != "" {
					k += " " + string(s.Target.Version)
				}
				got = append(got, k)
				if s.Reason == "" {
					t.Errorf("%s has no reason", k)
				}
			}
			if d := cmp.Diff(tc.want, strings.Join(got, ", ")); d != "" {
				t.Errorf("%s\n%+v", d, steps)
			}
			if last := steps[len(steps)-1].Reason; !strings.Contains(last, tc.why) {
				t.Errorf("reason %q does not say %q", last, tc.why)
			}
		})
	}
}

func TestWaitSaysUntilWhen(t *testing.T) {
	l := running(func(l *Local) { l.Committed, l.Confirmed = false, t0 })
	if s := Steps(wire.Order{Base: base(tgt(3, a, "3"))}, l, t0); !s[0].Until.Equal(t0.Add(time.Minute)) {
		t.Errorf("soak: %s", s[0].Until)
	}
	n := next(tgt(4, b, "4"), func(n *wire.Transit) { n.NotBefore = t0.Add(time.Hour) })
	steps := Steps(wire.Order{Next: n}, running(), t0)
	if !slices.ContainsFunc(steps, func(s Step) bool { return s.Until.Equal(n.NotBefore) }) {
		t.Errorf("not before: %+v", steps)
	}
}
