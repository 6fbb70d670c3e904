package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func TestStampsGrow(t *testing.T) {
	var s State
	var last time.Time
	clock := t0
	for i := range 20 {
		clock = clock.Add(time.Duration(rand.IntN(5)-3) * time.Second / 2) // a clock that jumps back
		s.Begin(*rel(wire.Epoch(i+1), a, "1"), clock)
		stamp := s.Switch.Stamp
		if i%3 == 0 {
			s.Fail(clock, "x")
			if !s.Back.Stamp.After(stamp) {
				t.Fatalf("going back: %s after %s", s.Back.Stamp, stamp)
			}
			stamp = s.Back.Stamp
			s.Returned(clock, true)
		} else {
			s.Switched(clock)
			s.Confirm(clock)
		}
		if !stamp.After(last) || stamp.Nanosecond() != 0 {
			t.Fatalf("stamp %d: %s after %s", i, stamp, last)
		}
		last = stamp
	}
}

func TestStarted(t *testing.T) {
	s := State{Fresh: t0, Running: rel(1, a, "1")}
	for i := 1; i <= 3; i++ {
		if s.Started(t0.Add(time.Minute), false, CrashWindow); s.Crashes != i {
			t.Fatalf("%d crashes, want %d", s.Crashes, i)
		}
	}
	// Neither counts, and neither makes undone what was counted.
	s.Started(t0, true, CrashWindow)
	s.Started(t0.Add(time.Hour), false, CrashWindow)
	if s.Crashes != 3 {
		t.Errorf("%d crashes after an orderly end and a late one, want 3", s.Crashes)
	}
	if s.Begin(*rel(2, a, "1"), t0); s.Crashes != 0 {
		t.Errorf("%d crashes count against the next activation", s.Crashes)
	}
}

// TestNoWayBackTwice holds that going back does not lead forward again.
func TestNoWayBackTwice(t *testing.T) {
	both := staged(a, b)
	for name, leave := range map[string]func(*State, *Release){
		"crashes":  func(s *State, to *Release) { s.GiveUp(to, t0, "crashes") },
		"rollback": func(s *State, to *Release) { s.Rollback(to, wire.Order{}, t0) },
	} {
		var s State
		for e, d := range []wire.Digest{a, b} {
			s.Begin(*rel(wire.Epoch(e+1), d, "1"), t0)
			s.Switched(t0)
			s.Confirm(t0)
		}
		to := s.Undo(both)
		if to == nil || to.Digest != a {
			t.Fatalf("%s: the way back is %v", name, to)
		}
		leave(&s, to)
		s.Returned(t0, true)
		if again := s.Undo(both); again != nil {
			t.Errorf("%s: went back to 1 and could go on to epoch %d", name, again.Epoch)
		}
	}
}

// world carries out steps as the shell does, with failures and crashes anywhere.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	l     Local
	now   time.Time
	order wire.Order
	epoch wire.Epoch
	log   []string
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), w.log)
}

// reorder plays a controller: mostly sound, at times hostile.
func (w *world) reorder() {
	bundles := []wire.Target{tgt(0, a, "1"), tgt(0, b, "2"), tgt(0, c, "3")}
	pick := bundles[w.rng.IntN(len(bundles))]
	switch w.rng.IntN(6) {
	case 0: // commit
		if w.order.Next != nil {
			w.order.Base, w.order.Next = &w.order.Next.Target, nil
		}
	case 1: // an old or equal epoch, perhaps with another bundle
		pick.Epoch = max(1, w.epoch-wire.Epoch(w.rng.IntN(3)))
		w.order.Next = next(pick)
	case 2: // stage
		w.epoch++
		pick.Epoch = w.epoch
		w.order.Next = next(pick, func(n *wire.Transit) { n.Phase = wire.PhaseStage })
	default:
		w.epoch++
		pick.Epoch = w.epoch
		w.order.Next = next(pick, func(n *wire.Transit) {
			if w.rng.IntN(4) == 0 {
				n.Cohort = wire.Cohort{}
			}
			if w.rng.IntN(4) == 0 {
				n.NotBefore = w.now.Add(time.Minute)
			}
			if w.rng.IntN(6) == 0 {
				n.Expires = w.now.Add(-time.Second)
			}
		})
	}
}

// crash reports whether the agent dies now; what is in memory only is lost.
func (w *world) crash() bool {
	if w.rng.IntN(8) > 0 {
		return false
	}
	w.log = append(w.log, "crash")
	w.l.Armed, w.l.Drift = wire.Digest{}, "has not been asked"
	w.l.Started(w.now, false, CrashWindow)
	return true
}

func (w *world) do(s Step) {
	w.log = append(w.log, fmt.Sprintf("%s %s@%d (%s)", s.Kind, s.Target.Version, s.Target.Epoch, s.Reason))
	st := &w.l.State
	switch s.Kind {
	case Stage:
		w.l.Staged[s.Target.Digest] = true
	case Arm:
		w.l.Armed = s.Target.Digest
	case Repair:
		w.l.Drift = ""
	case Commit:
		st.Commit()
	case Revert:
		st.TurnBack(s, w.now)
		if !w.crash() {
			st.Returned(w.now, true)
			w.l.Drift = ""
		}
	case Activate:
		w.activate(s.Target)
	default:
		w.fatal("no such step: %s", s.Kind)
	}
}

// activate holds the promises at the one place where they can be broken.
func (w *world) activate(t wire.Target) {
	st := &w.l.State
	switch {
	case !w.l.Staged[t.Digest]:
		w.fatal("activates what is not on disk")
	case st.Floor.Compare(t.Version) > 0:
		w.fatal("activates %s below the floor %s", t.Version, st.Floor)
	case st.Running != nil && t.Epoch < st.Running.Epoch:
		w.fatal("activates epoch %d below %d", t.Epoch, st.Running.Epoch)
	case t.Epoch <= st.Pinned:
		w.fatal("activates epoch %d, pinned at %d", t.Epoch, st.Pinned)
	case st.Highest.Epoch == t.Epoch && st.Highest.Digest != t.Digest:
		w.fatal("activates another bundle at epoch %d", t.Epoch)
	}
	if m, bad := st.Forbids(t); bad {
		w.fatal("activates what is bad at epoch %d", m.Epoch)
	}
	r := Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version}
	if w.rng.IntN(6) == 0 {
		r.Floor = t.Version
	}
	if w.rng.IntN(8) == 0 {
		st.Spoil(t, "nginx -t")
		if st.Switch != nil && st.Switch.To.Digest == t.Digest && st.Switch.To.Epoch == t.Epoch {
			st.Fail(w.now, "nginx -t")
		}
		return
	}
	fresh := st.Switch == nil
	st.Begin(r, w.now)
	if w.crash() {
		return
	}
	if fresh && w.rng.IntN(8) == 0 {
		st.Withdraw()
		return
	}
	st.Switched(w.now)
	if w.crash() {
		return
	}
	if w.rng.IntN(5) == 0 {
		st.Fail(w.now, "probe")
		return
	}
	st.Confirm(w.now)
	w.l.Drift = ""
}

// TestPromises runs thousands of random histories. Beside what activate checks: the plan
// comes to rest under an unchanged order, marks and floors stay, stamps grow, and what
// must be kept on disk is kept.
func TestPromises(t *testing.T) {
	for seed := range uint64(3000) {
		w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: t0, l: Local{Agent: me, Staged: make(map[wire.Digest]bool)}}
		w.log = append(w.log, fmt.Sprint("seed ", seed))
		for range 25 {
			w.now = w.now.Add(time.Duration(w.rng.IntN(90)) * time.Second)
			w.reorder()
			if w.rng.IntN(10) == 0 {
				if to := w.l.Undo(w.l.Staged); to != nil {
					w.log = append(w.log, "rollback on the node")
					w.l.Rollback(to, w.order, w.now)
				}
			}
			w.rest()
		}
	}
}

// rest does what the plan says until nothing is left to do.
func (w *world) rest() {
	for n := 0; ; n++ {
		before := w.l.State.Clone()
		steps := Steps(w.order, w.l, w.now)
		i := slices.IndexFunc(steps, func(s Step) bool { return s.Kind != Wait && s.Kind != Refuse })
		for _, s := range steps {
			if s.Reason == "" {
				w.fatal("%s has no reason", s.Kind)
			}
		}
		if i < 0 {
			if w.l.Switch != nil || w.l.Back != nil {
				w.fatal("comes to rest in the middle: %+v", steps)
			}
			return
		}
		if n == 60 {
			w.fatal("never comes to rest")
		}
		w.do(steps[i])
		after := &w.l.State
		switch {
		case after.Floor.Compare(before.Floor) < 0:
			w.fatal("the floor sank from %s to %s", before.Floor, after.Floor)
		case after.Highest.Epoch < before.Highest.Epoch || after.Pinned < before.Pinned:
			w.fatal("forgot the highest epoch or the pin")
		case after.Stamp.Before(before.Stamp):
			w.fatal("the stamp went back")
		case after.Switch != nil && after.Back != nil:
			w.fatal("goes forward and back at the same time")
		case len(after.Soaked) > 2 || len(after.Bad) > maxMarks:
			w.fatal("grows without bound")
		}
		keep := after.Keep()
		for _, r := range []*Release{after.Running, after.Serving(), after.LKG()} {
			if r != nil && !slices.Contains(keep, r.Digest) {
				w.fatal("%s may be removed", r.Version)
			}
		}
	}
}

// TestWhatMayBeLiveIsKept holds that a release stays on the node until another one has been
// read back live, however often the node has turned round since.
func TestWhatMayBeLiveIsKept(t *testing.T) {
	running := func() State {
		var s State
		s.Begin(*rel(1, a, "1"), t0)
		s.Switched(t0)
		s.Confirm(t0)
		s.Begin(*rel(2, b, "2"), t0)
		s.Switched(t0)
		return s
	}
	for name, tt := range map[string]struct {
		turn func(*State)
		keep bool
	}{
		"superseded half way":              {func(s *State) { s.Begin(*rel(3, c, "3"), t0) }, true},
		"superseded and confirmed":         {func(s *State) { s.Begin(*rel(3, c, "3"), t0); s.Switched(t0); s.Confirm(t0) }, false},
		"back, which does not show":        {func(s *State) { s.Fail(t0, "x"); s.Returned(t0, false) }, true},
		"back, which shows":                {func(s *State) { s.Fail(t0, "x"); s.Returned(t0, true) }, false},
		"superseded, then back, not shown": {func(s *State) { s.Begin(*rel(3, a, "1"), t0); s.Fail(t0, "x"); s.Returned(t0, false) }, true},
		"back, then back from that": {func(s *State) {
			s.Fail(t0, "x")
			s.GiveUp(nil, t0, "y")
		}, true},
	} {
		s := running()
		tt.turn(&s)
		if got := slices.Contains(s.Keep(), b); got != tt.keep {
			t.Errorf("%s: kept: %v, want %v", name, got, tt.keep)
		}
	}
	s := running()
	for e := wire.Epoch(3); e < 20; e++ {
		s.Begin(*rel(e, wire.DigestOf([]byte{byte(e)}), "3"), t0)
	}
	if len(s.Left) > maxLeft {
		t.Errorf("%d releases are kept because they may be live, want at most %d", len(s.Left), maxLeft)
	}
}

// Content that runs already has shown that it is healthy, unless something else may be live.
func TestHealthy(t *testing.T) {
	next := wire.Target{Epoch: 7, Digest: wire.DigestOf([]byte("a"))}
	other := wire.DigestOf([]byte("b"))
	order := wire.Order{Next: &wire.Transit{Target: next, Healthy: wire.Duration(9 * time.Second)}}
	begun := &Switch{To: Release{Epoch: 7, Digest: next.Digest, Healthy: wire.Duration(3 * time.Second)}}
	for name, test := range map[string]struct {
		state State
		order wire.Order
		want  time.Duration
	}{
		"nothing runs":             {State{}, order, 9 * time.Second},
		"something else runs":      {State{Running: &Release{Epoch: 6, Digest: other}}, order, 9 * time.Second},
		"it runs":                  {State{Running: &Release{Epoch: 6, Digest: next.Digest}}, order, 0},
		"something may be live":    {State{Running: &Release{Epoch: 6, Digest: next.Digest}, Left: []wire.Digest{other}}, order, 9 * time.Second},
		"begun":                    {State{Running: &Release{Epoch: 6, Digest: next.Digest}, Switch: begun}, order, 3 * time.Second},
		"begun, and another order": {State{Switch: begun}, wire.Order{}, 3 * time.Second},
		"the base":                 {State{}, wire.Order{Base: &next}, 0},
	} {
		if got := test.state.Healthy(next, test.order).Std(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
