package plan

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

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
