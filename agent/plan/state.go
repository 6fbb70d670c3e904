package plan

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Release is a bundle at the epoch under which it was ordered, with what the agent must
// still know about it when the order that named it is long gone.
type Release struct {
	Epoch   wire.Epoch    `json:"epoch"`
	Digest  wire.Digest   `json:"digest"`
	Version wire.Version  `json:"version"`
	Floor   wire.Version  `json:"floor,omitempty"` // of its manifest
	Healthy wire.Duration `json:"healthy"`         // how long it must stay live before it is confirmed
}

// Switch is a change that has begun and is neither confirmed nor taken back.
type Switch struct {
	To      Release   `json:"to"`
	Attempt int       `json:"attempt"`       // from 1; how often it was begun
	Began   time.Time `json:"began"`         // of the first attempt
	Live    time.Time `json:"live,omitzero"` // when the data plane had switched; zero: it may or may not have
	Stamp   time.Time `json:"stamp"`         // mtime its files carry
}

// Back is a return to an older release that has been decided and is not done yet.
type Back struct {
	To     *Release    `json:"to,omitempty"` // nil: there is nothing to go back to
	From   wire.Digest `json:"from"`         // what is being left
	Stamp  time.Time   `json:"stamp"`        // mtime To's files get
	Reason string      `json:"reason"`
	Asked  bool        `json:"asked,omitempty"` // by somebody on the node: crashes do not count against it
}

// Mark says that a bundle must not be activated by an order at or below an epoch.
type Mark struct {
	Digest wire.Digest `json:"digest"`
	Epoch  wire.Epoch  `json:"epoch"`
	State  wire.State  `json:"state,omitempty"` // failed: it never served here; reverted: it did
	Reason string      `json:"reason,omitempty"`
}

// maxMarks bounds the marks kept: what a report can carry.
const maxMarks = 64

// soaked is how many generations that were last known good are kept on the node.
const soaked = 2

// State is what a node remembers of one app. It is written down before and after every
// side effect, so that after a crash it tells what was under way. At most one of Switch
// and Back is set.
type State struct {
	// Running is the last release that was confirmed live. While Switch is set it is
	// also where a failed change returns to.
	Running   *Release  `json:"running,omitempty"`
	Since     time.Time `json:"since,omitzero"`      // when Running was activated
	Confirmed time.Time `json:"confirmed,omitzero"`  // when Running was confirmed
	Committed bool      `json:"committed,omitempty"` // Running has soaked
	Fresh     time.Time `json:"fresh,omitzero"`      // when an order activated Running, or the node went back to it unasked; else zero
	Stamp     time.Time `json:"stamp,omitzero"`      // mtime of Running's files; only ever grows

	Switch *Switch       `json:"switch,omitempty"`
	Back   *Back         `json:"back,omitempty"`
	Left   []wire.Digest `json:"left,omitempty"` // left, and nothing was read back live since: one of them may be; newest first

	Previous *Release     `json:"previous,omitempty"` // what ran before Running
	Soaked   []Release    `json:"soaked,omitempty"`   // were last known good, newest first: the first one is
	Floor    wire.Version `json:"floor,omitempty"`    // lowest version this node may activate
	Highest  Mark         `json:"highest,omitzero"`   // the highest epoch ever begun, and its digest
	Pinned   wire.Epoch   `json:"pinned,omitempty"`   // a local rollback: orders up to this epoch are not followed
	Bad      []Mark       `json:"bad,omitempty"`      // oldest first
	Crashes  int          `json:"crashes,omitempty"`  // of the agent, since the activation or return that Started counts them against
}

// Clone returns a copy that shares nothing with s.
func (s State) Clone() State {
	s.Running, s.Previous = clone(s.Running), clone(s.Previous)
	s.Switch, s.Back = clone(s.Switch), clone(s.Back)
	if s.Back != nil {
		s.Back.To = clone(s.Back.To)
	}
	s.Soaked, s.Bad, s.Left = slices.Clone(s.Soaked), slices.Clone(s.Bad), slices.Clone(s.Left)
	return s
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Serving returns what the node's `current` should name, or nil: the target of a return
// or of a change that went live, else the running release.
func (s *State) Serving() *Release {
	switch {
	case s.Back != nil:
		return s.Back.To
	case s.Switch != nil && !s.Switch.Live.IsZero():
		return &s.Switch.To
	}
	return s.Running
}

// LKG returns the last known good release, or nil.
func (s *State) LKG() *Release {
	if len(s.Soaked) == 0 {
		return nil
	}
	return &s.Soaked[0]
}

// Keep returns the digests that must stay on the node, in no order, possibly repeated.
func (s *State) Keep() []wire.Digest {
	keep := slices.Clone(s.Left)
	for _, r := range []*Release{s.Running, s.Previous} {
		if r != nil {
			keep = append(keep, r.Digest)
		}
	}
	for _, r := range s.Soaked {
		keep = append(keep, r.Digest)
	}
	if s.Switch != nil {
		keep = append(keep, s.Switch.To.Digest)
	}
	if s.Back != nil {
		keep = append(keep, s.Back.From)
		if s.Back.To != nil {
			keep = append(keep, s.Back.To.Digest)
		}
	}
	return keep
}

// Begin records that a change to r is about to touch the node. A change that was under
// way is superseded: what it started from stays the way back.
func (s *State) Begin(r Release, now time.Time) {
	stamp := s.nextStamp(now)
	if sw := s.Switch; sw != nil && sw.To.Epoch == r.Epoch && sw.To.Digest == r.Digest {
		sw.Attempt++
		sw.Live, sw.Stamp = time.Time{}, stamp
	} else {
		if sw != nil {
			s.leave(sw.To.Digest)
		}
		s.Switch = &Switch{To: r, Attempt: 1, Began: now, Stamp: stamp}
		s.Crashes = 0
	}
	if r.Epoch > s.Highest.Epoch {
		s.Highest = Mark{Digest: r.Digest, Epoch: r.Epoch}
	}
}

// nextStamp returns a whole second above every stamp given out before: two contents of
// equal size under one mtime are the same thing to an HTTP cache.
func (s *State) nextStamp(now time.Time) time.Time {
	last := s.Stamp
	if s.Switch != nil && s.Switch.Stamp.After(last) {
		last = s.Switch.Stamp
	}
	if s.Back != nil && s.Back.Stamp.After(last) {
		last = s.Back.Stamp
	}
	stamp := now.UTC().Truncate(time.Second)
	if !stamp.After(last) {
		stamp = last.Add(time.Second)
	}
	return stamp
}

// Switched records that the data plane was told to serve the target.
func (s *State) Switched(now time.Time) { s.Switch.Live = now }

// Withdraw records that the change under way has touched nothing but modification times: it
// may begin another time.
func (s *State) Withdraw() { s.Stamp, s.Switch = s.Switch.Stamp, nil }

// Confirm records that the target was read back live for its healthy time.
func (s *State) Confirm(now time.Time) {
	sw := s.Switch
	if s.Running != nil && s.Running.Digest != sw.To.Digest {
		s.Previous = s.Running
	}
	to := sw.To
	s.Running, s.Since, s.Fresh, s.Confirmed = &to, sw.Live, sw.Live, now
	s.Committed, s.Stamp, s.Switch, s.Left = false, sw.Stamp, nil, nil
	if s.Floor.Compare(to.Floor) < 0 {
		s.Floor = to.Floor
	}
	s.Bad = slices.DeleteFunc(s.Bad, func(m Mark) bool { return m.Digest == to.Digest })
}

// Fail decides that the change under way is given up: its target is bad at its epoch,
// and the node is on its way back to Running.
func (s *State) Fail(now time.Time, reason string) {
	to := s.Switch.To
	s.mark(Mark{to.Digest, to.Epoch, wire.StateReverted, reason})
	s.back(s.Running, to.Digest, now, reason)
}

// Rollback decides that the node goes back to r at an operator's word on the node. No
// order up to the highest epoch begun or seen in o moves it again.
func (s *State) Rollback(r *Release, o wire.Order, now time.Time) {
	s.Pinned = max(s.Pinned, s.Highest.Epoch)
	if o.Base != nil {
		s.Pinned = max(s.Pinned, o.Base.Epoch)
	}
	if o.Next != nil {
		s.Pinned = max(s.Pinned, o.Next.Epoch)
	}
	s.back(r, s.leaving(), now, "rolled back on the node")
	s.Back.Asked = true
}

// GiveUp decides that what the node serves is bad, because the agent keeps crashing with
// it, and that the node goes back to r. What is left is no last known good release any
// more, so the places to go back to become fewer each time.
func (s *State) GiveUp(r *Release, now time.Time, reason string) {
	left := *s.blamed()
	s.mark(Mark{left.Digest, left.Epoch, wire.StateReverted, reason})
	to := clone(r) // r may be one of those that move up
	if s.Previous != nil && s.Previous.Digest == left.Digest {
		s.Previous = nil
	}
	s.Soaked = slices.DeleteFunc(s.Soaked, func(o Release) bool { return o.Digest == left.Digest })
	s.back(to, left.Digest, now, reason)
}

// blamed returns the release that crashes count against, or nil.
func (s *State) blamed() *Release {
	switch {
	case s.Back != nil:
		return s.Back.To
	case s.Switch != nil:
		return &s.Switch.To
	}
	return s.Running
}

// TurnBack decides for a Revert step that its target is where the node goes.
func (s *State) TurnBack(step Step, now time.Time) {
	to := s.find(step.Target)
	switch {
	case s.Back != nil && (s.Back.To == nil || s.Back.To.Digest == step.Target.Digest):
		// It is under way.
	case s.Switch != nil:
		s.Fail(now, step.Reason)
		if to != nil { // else to what runs, whatever has become of it
			s.Back.To = clone(to)
		}
	case s.Crashes >= CrashLimit:
		s.GiveUp(to, now, step.Reason)
	default:
		s.back(to, s.leaving(), now, step.Reason)
	}
}

// find returns what the node knows of a release it may go back to.
func (s *State) find(t wire.Target) *Release {
	if s.Running != nil && s.Running.Digest == t.Digest && s.Running.Epoch == t.Epoch {
		return s.Running
	}
	if s.Previous != nil && s.Previous.Digest == t.Digest && s.Previous.Epoch == t.Epoch {
		return s.Previous
	}
	for i := range s.Soaked {
		if s.Soaked[i].Digest == t.Digest {
			return &s.Soaked[i]
		}
	}
	return nil
}

func (s *State) leaving() wire.Digest {
	switch {
	case s.Switch != nil:
		return s.Switch.To.Digest
	case s.Running != nil:
		return s.Running.Digest
	}
	return wire.Digest{}
}

// maxLeft bounds what is kept because it may be live: a data plane that shows nothing it is
// told to must not fill the disk.
const maxLeft = 3

// leave notes that a release which may be live is left.
func (s *State) leave(d wire.Digest) {
	s.Left = append([]wire.Digest{d}, slices.DeleteFunc(s.Left, func(o wire.Digest) bool { return o == d })...)
	s.Left = s.Left[:min(len(s.Left), maxLeft)]
}

func (s *State) back(to *Release, from wire.Digest, now time.Time, reason string) {
	if s.Back != nil {
		s.leave(s.Back.From)
	}
	s.Back = &Back{To: to, From: from, Stamp: s.nextStamp(now), Reason: reason}
	s.Switch, s.Crashes = nil, 0
}

// Returned records that the node was told to serve what it went back to, and whether that
// was read back live. The older release keeps its own epoch, so that a cache behind a
// generation fence stores nothing it answers.
func (s *State) Returned(now time.Time, shown bool) {
	b := s.Back
	if shown {
		s.Left = nil
	} else {
		s.leave(b.From)
	}
	s.Stamp, s.Back, s.Fresh = b.Stamp, nil, now
	if b.Asked {
		s.Fresh = time.Time{}
	}
	if b.To == nil || s.Running != nil && s.Running.Digest == b.To.Digest && s.Running.Epoch == b.To.Epoch {
		return
	}
	if s.Previous != nil && s.Previous.Digest == b.To.Digest {
		s.Previous = nil // what was left is no place to go back to
	}
	s.Running = b.To
	s.Since, s.Confirmed = now, now
	s.Committed = slices.ContainsFunc(s.Soaked, func(o Release) bool { return o.Digest == b.To.Digest })
}

// Spoil marks a target bad that never came to be switched to.
func (s *State) Spoil(t wire.Target, reason string) {
	s.mark(Mark{t.Digest, t.Epoch, wire.StateFailed, reason})
	if t.Epoch > s.Highest.Epoch {
		s.Highest = Mark{Digest: t.Digest, Epoch: t.Epoch}
	}
}

func (s *State) mark(m Mark) {
	s.Bad = slices.DeleteFunc(s.Bad, func(b Mark) bool { return b.Digest == m.Digest })
	s.Bad = append(s.Bad, m)
	if len(s.Bad) > maxMarks {
		s.Bad = slices.Delete(s.Bad, 0, len(s.Bad)-maxMarks)
	}
}

// Commit records that Running has soaked: it is last known good from now on.
func (s *State) Commit() {
	s.Committed = true
	r := *s.Running
	s.Soaked = slices.DeleteFunc(s.Soaked, func(o Release) bool { return o.Digest == r.Digest })
	s.Soaked = append([]Release{r}, s.Soaked...)
	s.Soaked = s.Soaked[:min(len(s.Soaked), soaked)]
}

// Undo returns where a rollback on the node itself leads: the running release while a
// change is under way and it is not damaged, else the newest of last known good and
// previous that is neither what is being left nor bad. It is nil when there is nothing to
// go back to.
func (s *State) Undo(staged map[wire.Digest]bool) *Release {
	var left wire.Digest
	switch {
	case s.Switch != nil && (s.Running == nil || staged[s.Running.Digest]):
		return s.Running
	case s.Switch != nil:
		left = s.Switch.To.Digest
	case s.Running != nil:
		left = s.Running.Digest
	}
	return s.older(staged, left)
}

// retreat returns where a change under way is taken back to. It is what runs, damaged or
// not, when there is nothing better.
func (s *State) retreat(staged map[wire.Digest]bool) *Release {
	if to := s.Undo(staged); to != nil {
		return to
	}
	return s.Running
}

// older returns the newest of last known good and previous that is staged, allowed and
// not the bundle to get away from, or nil.
func (s *State) older(staged map[wire.Digest]bool, from wire.Digest) *Release {
	var others []*Release
	for i := range s.Soaked {
		others = append(others, &s.Soaked[i])
	}
	if s.Previous != nil {
		others = append(others, s.Previous)
	}
	for _, r := range others {
		_, bad := s.Forbids(target(r))
		if r.Digest != from && staged[r.Digest] && !bad && s.Floor.Compare(r.Version) <= 0 {
			return r
		}
	}
	return nil
}

// Started records a start of the agent. If the run before did not end in order, it counts
// against what was activated less than window ago, or what the node went back to unasked,
// or is still going back to. It does not count against what somebody on the node chose. A
// clock far behind the activation, after a power cut say, tells nothing of when that was.
func (s *State) Started(now time.Time, clean bool, window time.Duration) {
	at := s.Fresh
	switch {
	case s.Back != nil && s.Back.Asked:
		at = time.Time{}
	case s.Back != nil:
		at = now
	case s.Switch != nil:
		at = s.Switch.Began
		if clean {
			s.Switch.Attempt-- // an orderly end in the middle is no failed attempt
		}
	}
	if !clean && !at.IsZero() && now.Sub(at).Abs() <= window {
		s.Crashes++
	}
}

// Forbids returns the mark that forbids t, if there is one.
func (s *State) Forbids(t wire.Target) (Mark, bool) {
	for _, m := range s.Bad {
		if m.Digest == t.Digest && t.Epoch <= m.Epoch {
			return m, true
		}
	}
	return Mark{}, false
}
