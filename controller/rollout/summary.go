package rollout

import (
	"slices"

	"github.com/ebbgate/ebbgate/wire"
)

// Status derives the summary of an app.
func Status(s State) Summary {
	sum := Summary{App: s.App, Revision: s.Revision, At: s.Now, Quarantine: s.Quarantine}
	all := wire.Keys(s.View.Members)
	all = append(all, wire.Keys(s.Regions)...)
	slices.Sort(all)
	for _, r := range slices.Compact(all) {
		sum.Regions = append(sum.Regions, s.summarise(r))
	}
	ro := s.Rollout
	if ro == nil {
		return sum
	}
	reason, hold := s.reason()
	rs := &RolloutSummary{
		ID: ro.ID, By: ro.By, Source: ro.Source, Undoes: ro.Undoes, Glass: ro.Glass, Version: ro.Target.Version, Digest: ro.Target.Digest,
		Status: ro.Status, Reason: reason, Hold: hold, Wave: ro.Wave, Started: ro.Started, Ended: ro.Ended,
	}
	for i, w := range ro.Plan.Waves {
		ws := WaveSummary{State: "current", Strategy: w.Strategy}
		if i < ro.Wave || ro.Status == StatusDone {
			ws.State = "passed"
		} else if i > ro.Wave {
			ws.State = "waiting"
		}
		for _, r := range w.Regions {
			ws.Regions = append(ws.Regions, s.summarise(r))
		}
		rs.Waves = append(rs.Waves, ws)
	}
	sum.Rollout = rs
	return sum
}

// reason returns why the rollout waits or went back: the halt, the first hold, or the
// decision that turned it round; and the hold, if it is one.
func (s State) reason() (string, *Hold) {
	ro := s.Rollout
	if h := s.told(ro.halted()); h != nil {
		return h.Reason, h
	}
	if ro.Halt != "" {
		return ro.Halt, nil
	}
	if !ro.Status.Ended() {
		for i, w := range ro.Plan.Waves {
			for _, r := range w.Regions {
				if h := s.told(s.Regions[r].Hold); h != nil && (i == ro.Wave || ro.Ending != "") {
					return string(r) + ": " + h.Reason, h
				}
			}
		}
	}
	if ro.Ending == "" && !ro.Paused {
		return "", nil
	}
	for _, d := range slices.Backward(ro.Decisions) {
		switch {
		case ro.Ending != "" && d.Region == "" && (d.Kind == KindRevert || d.Kind == KindAbort), ro.Ending == "" && d.Kind == KindPause:
			return d.Reason, nil
		}
	}
	return "", nil
}

func (s State) summarise(r wire.Region) RegionSummary {
	rr := s.Regions[r]
	sum := RegionSummary{
		Region: r, Phase: rr.Phase, Epoch: rr.epoch(), Counts: s.tally(r).Counts,
		Purge: rr.Purge, Hold: s.told(rr.Hold), Times: rr.Times, Readings: rr.Readings, Approvals: rr.Approvals,
	}
	if skew, ok := s.skew(r); ok {
		sum.Skew = wire.Duration(skew)
	}
	if ro := s.active(); ro != nil && (rr.Phase == PhaseActivating || rr.Phase == PhasePurging || rr.Phase == PhaseBaking) {
		sum.Approve = s.approvers(r)
		if over, baking := s.baked(r); baking && s.Now.Before(over) && (rr.Hold == nil || !rr.Hold.Kind.unseen()) {
			sum.BakesUntil = over
		}
	}
	if rr.Committed != nil {
		sum.Running = rr.Committed.Version
	}
	if rr.Next != nil {
		sum.Next = rr.Next.Version
		if rr.Phase == PhaseActivating {
			sum.Steps = len(rr.steps(s.Rollout.Plan.waveOf(r)))
			sum.Step = rr.Step + 1
		}
	}
	if m := s.View.Members[r]; m != nil {
		for _, a := range m.Agents {
			sum.Agents = append(sum.Agents, s.agent(rr, a))
		}
	}
	sum.Others = sum.RunBesides(sum.Running, sum.Next)
	return sum
}

// RunBesides counts the agents, drained ones included, that run none of the versions.
func (s RegionSummary) RunBesides(versions ...wire.Version) (others []RunSummary) {
	count := make(map[wire.Version]int)
	for _, a := range s.Agents {
		if a.Version != "" && !slices.Contains(versions, a.Version) {
			count[a.Version]++
		}
	}
	for _, v := range wire.Keys(count) {
		others = append(others, RunSummary{Version: v, Agents: count[v]})
	}
	return others
}

func (s State) agent(rr RegionRecord, a *Agent) AgentSummary {
	sum := AgentSummary{ID: a.ID, InCohort: inCohort(rr, a), Stored: a.Stored, State: "idle"}
	if a.Report != nil {
		sum.Plane = a.Report.Plane
		if n := a.Report.Next; n != nil && n.Epoch == rr.epoch() {
			sum.State, sum.Error = string(n.State), n.Error
		}
		if run := a.Report.Running; run != nil {
			sum.Version, sum.Epoch = run.Version, run.Epoch
			if run.Epoch == rr.epoch() || rr.Next != nil && run.Digest == rr.Next.Digest && !inCohort(rr, a) {
				sum.State, sum.Error = string(run.State), run.Error // at an older epoch after a step was taken back
			}
		}
	}
	switch p := s.presence(a); {
	case a.Drained:
		sum.State = "drained"
	case p == silent:
		sum.State = "silent"
	case p == waiting:
		sum.State = "waiting"
	default:
		if reason := s.failed(rr, a); reason != "" {
			sum.State, sum.Error = "failed", reason
		}
	}
	return sum
}
