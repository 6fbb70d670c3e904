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

// Healthy returns how long a target that is activated must stay live before it is confirmed:
// what the order said when the change began, else what o says now. Content that runs already
// has shown that; only its epoch is new.
func (s *State) Healthy(t wire.Target, o wire.Order) wire.Duration {
	switch sw := s.Switch; {
	case sw != nil && sw.To.Epoch == t.Epoch && sw.To.Digest == t.Digest:
		return sw.To.Healthy
	case s.Running != nil && s.Running.Digest == t.Digest && sw == nil && len(s.Left) == 0:
		return 0
	case o.Next != nil && o.Next.Epoch == t.Epoch:
		return o.Next.Healthy
	}
	return 0
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
