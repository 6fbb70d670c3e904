package rollout

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/wire"
)

func (t *turn) members(e Members) {
	old := t.s.View.Members[e.Region]
	m := &Membership{}
	enrolled := make(map[wire.AgentID]bool)
	for _, l := range e.Agents {
		a := &Agent{ID: l.ID, Seen: t.s.Now, key: keyOf(l.ID)}
		if known := old.find(l.ID); known != nil {
			c := *known
			a = &c
		} else {
			if t.s.Rollout != nil {
				a.score = wire.ScoreOf(t.s.Rollout.Seed, a.ID)
			}
			if old != nil {
				enrolled[a.ID] = true
				a.since = t.s.Now
				t.restartDeadline(e.Region)
			}
		}
		a.Drained = l.Drained
		m.Agents = append(m.Agents, a)
	}
	slices.SortFunc(m.Agents, func(a, b *Agent) int { return cmp.Compare(a.ID, b.ID) })
	m.Agents = slices.CompactFunc(m.Agents, func(a, b *Agent) bool { return a.ID == b.ID })
	t.seat(e.Region, m)
	if rr := t.s.Regions[e.Region]; len(enrolled) > 0 && rr.Next != nil && rr.Next.Phase == wire.PhaseActivate && rr.Next.Cohort.CutOff != wire.AllScores {
		next := *rr.Next
		next.Cohort = m.except(next.Cohort, func(a *Agent) bool { return enrolled[a.ID] }, nil, t.s.room(e.Region))
		if !slices.Equal(next.Cohort.Except, rr.Next.Cohort.Except) {
			rr.Next = &next
			t.issue(&rr)
			t.set(e.Region, rr)
		}
	}
}

func (t *turn) seat(r wire.Region, m *Membership) {
	t.s.View.Members = maps.Clone(t.s.View.Members)
	if t.s.View.Members == nil {
		t.s.View.Members = make(map[wire.Region]*Membership)
	}
	t.s.View.Members[r] = m
}

// index returns where the agent is, or would be.
func (m *Membership) index(id wire.AgentID) (int, bool) {
	return slices.BinarySearchFunc(m.Agents, id, func(a *Agent, id wire.AgentID) int { return cmp.Compare(a.ID, id) })
}

func (m *Membership) find(id wire.AgentID) *Agent {
	if m == nil {
		return nil
	}
	if i, ok := m.index(id); ok {
		return m.Agents[i]
	}
	return nil
}

// reported takes a report in, and returns whether it says anything new.
func (t *turn) reported(e Reported) bool {
	m := t.s.View.Members[e.Region]
	old := m.find(e.Agent)
	if old == nil {
		return false
	}
	at := cmp.Or(cmp.Compare(e.Incarnation, old.Incarnation), cmp.Compare(e.Sequence, old.Sequence))
	if old.Report != nil && at < 0 || old.Report != nil && at == 0 && !e.Stored.After(old.Stored) {
		return false
	}
	a := *old
	a.Report, a.Stored, a.Build, a.Peers = &e.Report, e.Stored, e.Build, e.Peers
	a.Incarnation, a.Sequence, a.Desired = e.Incarnation, e.Sequence, e.Desired
	if old.Report == nil && a.since.IsZero() && e.Stored.After(t.s.Since) {
		a.since = t.s.Now
	}
	was, is := t.s.presence(old), t.s.presence(&a)
	if was == silent && is == live {
		a.since = t.s.Now // whatever it says at first: it may not have begun to look
	}
	agents := slices.Clone(m.Agents)
	i, _ := m.index(e.Agent)
	agents[i] = &a
	t.seat(e.Region, &Membership{agents})

	t.heard(e)
	if was == is && old.Report != nil && old.Report.Plane == a.Report.Plane && old.Build == a.Build && slices.Equal(old.Peers, a.Peers) && sameProgress(old.Report, a.Report) {
		rr := t.s.Regions[e.Region]
		return t.s.failed(rr, old) != t.s.failed(rr, &a) // it was heard of after its deadline
	}
	if rr, known := t.s.Regions[e.Region]; known {
		t.note(e.Region, rr, old, &a)
		rr = t.s.Regions[e.Region]
		// One that had confirmed and has not been read back since its agent started is not late.
		again := confirmed(old, rr.epoch()) && !confirmed(&a, rr.epoch())
		if (was == silent && is == live || again) && rr.awaits(&a) {
			t.restartDeadline(e.Region)
		}
	}
	return true
}

// heard forgets that an operator went on without the agent, which was missed: whatever becomes of
// it now is news.
func (t *turn) heard(e Reported) {
	rr := t.s.Regions[e.Region]
	if i, missed := slices.BinarySearch(rr.Missed, e.Agent); missed && t.s.Now.Sub(e.Stored) <= t.s.lost()/2 {
		rr.Missed = slices.Delete(slices.Clone(rr.Missed), i, i+1)
		t.set(e.Region, rr)
	}
}

// restartDeadline gives the agents of the region the whole deadline again. It is kept in the
// Record: after a restart nobody would know who has just come.
func (t *turn) restartDeadline(r wire.Region) {
	if rr := t.s.Regions[r]; rr.Next != nil {
		rr.Returned = t.s.Now
		t.set(r, rr)
	}
}

// awaits reports whether a deadline runs for the agent.
func (rr RegionRecord) awaits(a *Agent) bool {
	switch {
	case rr.Next == nil:
		return false
	case rr.Phase == PhaseArming:
		return !armed(a, rr.Next.Epoch)
	case rr.Next.Phase == wire.PhaseStage:
		return !staged(a, rr.Next.Epoch)
	}
	return inCohort(rr, a) && !confirmed(a, rr.Next.Epoch)
}

// note keeps what later purges of the region depend on, across restarts: what its caches
// may hold, and whether an agent switched after the purge that was to follow it. An agent
// that goes back by itself switches, too: once, until it is covered again.
func (t *turn) note(r wire.Region, rr RegionRecord, old, a *Agent) {
	run := a.Report.Running
	if run != nil && len(rr.Served) < maxServed/2 { // an agent that lies cannot push out what was ordered
		rr.Served = withServed(rr.Served, run.Digest, run.Epoch)
	}
	if rr.Purge != nil && !rr.Phase.moving() {
		switch {
		case run == nil || run.Epoch < rr.Purge.Epoch:
			left := rr.Covered.has(a.key)
			rr.Covered = rr.Covered.without(a.key)
			if left && rr.Next != nil {
				rr.Returned = t.s.Now // its deadline begins anew
			}
			if run != nil && (left || old.ran() > run.Epoch) {
				rr.Late = true
			}
		case confirmed(a, rr.Purge.Epoch) && !rr.Covered.has(a.key):
			rr.Late = true
		}
	}
	t.set(r, rr)
}

// ran returns the epoch the agent last said it serves, or 0.
func (a *Agent) ran() wire.Epoch {
	if a.Report == nil || a.Report.Running == nil {
		return 0
	}
	return a.Report.Running.Epoch
}

func sameProgress(a, b *wire.AppReport) bool {
	running := func(r *wire.AppReport) wire.Running {
		if r.Running == nil {
			return wire.Running{}
		}
		return wire.Running{Epoch: r.Running.Epoch, Digest: r.Running.Digest, State: r.Running.State, Error: r.Running.Error, Crashes: r.Running.Crashes}
	}
	next := func(r *wire.AppReport) wire.Progress {
		if r.Next == nil {
			return wire.Progress{}
		}
		return *r.Next
	}
	return running(a) == running(b) && next(a) == next(b)
}

// rescore gives every agent its score for the rollout that has just begun.
func (t *turn) rescore() {
	members := make(map[wire.Region]*Membership, len(t.s.View.Members))
	for _, r := range wire.Keys(t.s.View.Members) {
		m := t.s.View.Members[r]
		agents := make([]*Agent, len(m.Agents))
		for i, a := range m.Agents {
			c := *a
			c.score = wire.ScoreOf(t.s.Rollout.Seed, a.ID)
			agents[i] = &c
		}
		members[r] = &Membership{agents}
	}
	t.s.View.Members = members
}
