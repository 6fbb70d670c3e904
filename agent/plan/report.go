package plan

import "github.com/ebbgate/ebbgate/wire"

// Sight is what the agent sees of an app beyond what its plan needs.
type Sight struct {
	Proven bool                    // what runs was read back since the agent started
	Proof  string                  // evidence of the last time
	Failed map[wire.Digest]Failure // bundle → why it is not further than it is
}

// Failure is why a bundle could not be staged, armed or switched to.
type Failure struct {
	Why       string
	Permanent bool // trying again without another order will hardly help
}

// Report returns what the node says of the app, but for what the data plane says of
// itself. steps are those of o and l, or none in the middle of a step.
func Report(o wire.Order, l Local, s Sight, steps []Step) wire.AppReport {
	r := wire.AppReport{Running: l.running(s), Next: l.progress(o, s, steps)}
	if lkg := l.LKG(); lkg != nil {
		r.LKG = lkg.Digest
	}
	for _, m := range l.Bad {
		r.Bad = append(r.Bad, m.Digest)
	}
	return r
}

// running says what the node serves.
func (l *Local) running(s Sight) *wire.Running {
	if sw := l.Switch; sw != nil && !sw.Live.IsZero() {
		return &wire.Running{Epoch: sw.To.Epoch, Digest: sw.To.Digest, Version: sw.To.Version,
			State: wire.StateActive, Since: sw.Live.UTC(), Evidence: wire.Clip(s.Proof), Crashes: min(l.Crashes, wire.MaxCrashes)}
	}
	r := l.Running
	if r == nil {
		return nil
	}
	run := &wire.Running{Epoch: r.Epoch, Digest: r.Digest, Version: r.Version, State: wire.StateConfirmed,
		Since: l.Since.UTC(), Evidence: wire.Clip(s.Proof), Error: wire.Clip(l.Sick)}
	if left := l.blamed(); left != nil && left.Epoch == r.Epoch && left.Digest == r.Digest { // else they count against where it is going
		run.Crashes = min(l.Crashes, wire.MaxCrashes)
	}
	switch {
	case !s.Proven:
		run.State = wire.StateActive // since the agent started nobody has read it back
	case l.Committed:
		run.State = wire.StateCommitted
	}
	if l.Back != nil {
		run.Error = wire.Clip("going back: " + l.Back.Reason)
	}
	return run
}

// progress says how far what is ordered has come, unless it is what runs.
func (l *Local) progress(o wire.Order, s Sight, steps []Step) *wire.Progress {
	if sw := l.Switch; sw != nil {
		if sw.Live.IsZero() {
			return &wire.Progress{Epoch: sw.To.Epoch, Digest: sw.To.Digest, Version: sw.To.Version, State: wire.StateSwitching}
		}
		return nil
	}
	t := o.Base
	if o.Next != nil {
		t = &o.Next.Target
	}
	if t == nil || l.Running != nil && l.Running.Epoch >= t.Epoch {
		return nil
	}
	p := &wire.Progress{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, State: wire.StateStaging}
	f, failed := s.Failed[t.Digest]
	switch mark, bad := l.Forbids(*t); {
	case bad && l.Back != nil:
		// Not taken back yet: the data plane may still serve it.
		p.State, p.Error = wire.StateSwitching, wire.Clip(mark.Reason)
	case bad:
		p.State, p.Error = mark.State, wire.Clip(mark.Reason)
	case failed && f.Permanent:
		p.State, p.Error = wire.StateFailed, wire.Clip(f.Why)
	case l.Armed == t.Digest:
		p.State = wire.StateArmed
	case l.Staged[t.Digest]:
		p.State, p.Error = wire.StateStaged, wire.Clip(f.Why)
	case failed:
		p.Error = wire.Clip(f.Why)
	}
	for _, step := range steps {
		if step.Kind == Refuse && step.Target.Epoch == t.Epoch && p.Error == "" {
			p.State, p.Error = wire.StateFailed, wire.Clip(step.Reason)
		}
	}
	return p
}
