package rollout

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// gates returns the gates that the region is held to now: those of its step while it
// activates, then those of its wave.
func (s State) gates(r wire.Region) []Gate {
	rr, plan := s.Regions[r], s.Rollout.Plan
	w := plan.waveOf(r)
	held := w.Gates
	switch rr.Phase {
	case PhaseActivating:
		held = w.AllSteps()[rr.Step].Gates
	case PhasePurging, PhaseBaking:
	default:
		return nil
	}
	if s.hurries() {
		return nil
	}
	if len(held) == 0 {
		return plan.Gates
	}
	return slices.DeleteFunc(slices.Clone(plan.Gates), func(g Gate) bool { return !slices.Contains(held, g.Name) })
}

// reading returns the newest reading of a gate; without one, a zero one of its name.
func (rr RegionRecord) reading(gate string) Reading {
	if i, ok := rr.findReading(gate); ok {
		return rr.Readings[i]
	}
	return Reading{Gate: gate}
}

func (rr RegionRecord) findReading(gate string) (int, bool) {
	return slices.BinarySearchFunc(rr.Readings, gate, func(rd Reading, name string) int { return cmp.Compare(rd.Gate, name) })
}

// read replaces the reading of a gate.
func (rr *RegionRecord) read(rd Reading) {
	readings := slices.Clone(rr.Readings)
	i, known := rr.findReading(rd.Gate)
	if known {
		readings[i] = rd
	} else {
		readings = slices.Insert(readings, i, rd)
	}
	rr.Readings = readings
}

// open reports whether an answer is awaited.
func (rd Reading) open() bool { return rd.Answered < rd.Round }

// passed reports whether every gate passes on an answer to what was asked after the bake. While
// it is asked again the newest answer counts, until it should long have been followed by
// another: a source may take longer to answer than the interval is.
func (s State) passed(r wire.Region, over time.Time) bool {
	rr := s.Regions[r]
	if rr.Waived != "" {
		return true
	}
	for _, g := range s.gates(r) {
		rd := rr.reading(g.Name)
		age := s.Now.Sub(rd.Taken) // negative: the clock was set back
		if rd.Verdict != VerdictPass || rd.Taken.Before(over) || age < 0 || age > g.Interval.Std()+unanswered {
			return false
		}
	}
	return true
}

// passedLast reports whether the newest answer of every gate is good, however old it is.
func (s State) passedLast(r wire.Region) bool {
	return !slices.ContainsFunc(s.gates(r), func(g Gate) bool { return s.Regions[r].reading(g.Name).Verdict != VerdictPass })
}

// unknown returns the first gate that the region cannot go on for want of data. While it is
// asked again, it stays unknown.
func (s State) unknown(r wire.Region, over time.Time) (Reading, bool) {
	rr := s.Regions[r]
	if rr.Waived != "" {
		return Reading{}, false
	}
	held := rr.Hold != nil && rr.Hold.Kind == HoldGate
	for _, g := range s.gates(r) {
		rd := rr.reading(g.Name)
		if rd.Round == 0 { // ask found nobody
			rd.Verdict, rd.Text = VerdictNone, "there is nothing to measure, no agent that runs the release is heard of"
			return rd, true
		}
		if rd.Verdict == VerdictNone && (held || !rd.Taken.Before(over)) {
			return rd, true
		}
	}
	return Reading{}, false
}

// failedGate returns the first gate of the current wave that has failed.
func (s State) failedGate() (wire.Region, Reading) {
	for _, r := range s.Rollout.Plan.Waves[s.Rollout.Wave].Regions {
		rr := s.Regions[r]
		for _, g := range s.gates(r) {
			if rd := rr.reading(g.Name); rd.Bad >= g.Failures && rr.Waived == "" {
				return r, rd
			}
		}
	}
	return "", Reading{}
}

// ask asks for readings that are due: each interval from the first switched agent on, and
// once more as soon as a bake is over.
func (t *turn) ask(r wire.Region, tl tally) {
	if tl.Active == 0 {
		return
	}
	over, baking := t.s.baked(r)
	for _, g := range t.s.gates(r) {
		rr := t.s.Regions[r]
		rd := rr.reading(g.Name)
		since := t.s.Now.Sub(rd.Asked)
		switch {
		case rd.open() && since < g.Interval.Std()+unanswered:
			continue
		case rd.open() || rd.Round == 0 || since >= g.Interval.Std() || since < 0:
		case baking && !t.s.Now.Before(over) && rd.Asked.Before(over):
		default:
			continue
		}
		rd.Round++
		rd.Asked = t.s.Now
		rr.read(rd)
		t.set(r, rr)
	}
}

// measured takes an answer in.
func (t *turn) measured(e Measured) {
	ro := t.s.active()
	rr, known := t.s.Regions[e.Region]
	if ro == nil || !known || rr.epoch() != e.Epoch {
		return
	}
	g, known := ro.Plan.gate(e.Gate)
	rd := rr.reading(e.Gate)
	if !known || !rd.open() || rd.Round != e.Round {
		return
	}
	was := rd.Verdict
	rd.Answered, rd.Taken = e.Round, rd.Asked
	rd.Cohort, rd.Rest = e.Cohort.finite(), e.Rest.finite()
	rd.Verdict, rd.Text = g.judge(e)
	rd.Text = wire.Clip(rd.Text)
	switch rd.Verdict {
	case VerdictFail:
		rd.Bad++
	case VerdictPass:
		rd.Bad = 0
	}
	rr.read(rd)
	t.set(e.Region, rr)
	if was != rd.Verdict && (was != "" || rd.Verdict != VerdictPass) {
		t.decide(KindGate, e.Region, gateInputs(g, rd), "gate %s of %s: %s: %s", g.Name, e.Region, rd.Verdict, rd.Text)
	}
}

// tellGates notes the readings on which the region goes on.
func (t *turn) tellGates(r wire.Region, what string) {
	rr := t.s.Regions[r]
	for _, g := range t.s.gates(r) {
		rd := rr.reading(g.Name)
		if rr.Waived != "" {
			t.decide(KindGate, r, gateInputs(g, rd), "gate %s of %s was passed over by %s after %s: %s", g.Name, r, rr.Waived, what, cmp.Or(rd.Text, "never read"))
			continue
		}
		t.decide(KindGate, r, gateInputs(g, rd), "gate %s of %s passes after %s: %s", g.Name, r, what, rd.Text)
	}
}

func gateInputs(g Gate, rd Reading) map[string]string {
	in := map[string]string{"gate": g.Name, "source": g.source(), "verdict": string(rd.Verdict), "round": fmt.Sprint(rd.Answered), "bad": fmt.Sprint(rd.Bad), "failures": fmt.Sprint(g.Failures)}
	for _, n := range []struct {
		name string
		v    *float64
	}{
		{"value", rd.Cohort.Value}, {"samples", rd.Cohort.Samples}, {"rest", rd.Rest.Value}, {"rest_samples", rd.Rest.Samples},
		{"min", g.Min}, {"max", g.Max}, {"max_ratio", g.MaxRatio},
	} {
		if n.v != nil {
			in[n.name] = fmt.Sprint(*n.v)
		}
	}
	if g.MinSamples > 0 {
		in["min_samples"] = fmt.Sprint(g.MinSamples)
	}
	if g.Query != "" {
		in["query"] = wire.Clip(g.Query)
	}
	if g.Samples != "" {
		in["samples_query"] = wire.Clip(g.Samples)
	}
	return in
}

// measureOf returns what asks for an open reading, or nil.
func (s State) measureOf(r wire.Region, rd Reading) (Measure, bool) {
	ro, rr := s.Rollout, s.Regions[r]
	g, known := ro.Plan.gate(rd.Gate)
	if !known || rr.Next == nil || s.View.Members[r] == nil {
		return Measure{}, false
	}
	m := Measure{App: s.App, Rollout: ro.ID, Version: rr.Next.Version, Region: r, Epoch: rr.epoch(), Step: rr.Step + 1, Gate: g, Round: rd.Round, Cohort: []wire.AgentID{}, Rest: []wire.AgentID{}}
	m.Rest = s.others(r, m.Rest)
	if len(m.Rest) == 0 {
		for _, w := range ro.Plan.Waves {
			for _, other := range w.Regions {
				if s.Regions[other].Phase == PhaseStaging {
					m.Rest = s.others(other, m.Rest)
				}
			}
		}
	}
	for _, a := range s.View.Members[r].Agents {
		if !a.Drained && switched(a, m.Epoch) {
			m.Cohort = append(m.Cohort, a.ID)
		}
	}
	return m, true
}

// others appends the live serving agents of a region that have not switched.
func (s State) others(r wire.Region, to []wire.AgentID) []wire.AgentID {
	m := s.View.Members[r]
	if m == nil {
		return to
	}
	for _, a := range m.Agents {
		if !a.Drained && s.presence(a) == live && !switched(a, s.Regions[r].epoch()) {
			to = append(to, a.ID)
		}
	}
	return to
}

// finite leaves out what JSON cannot carry.
func (s Sample) finite() Sample {
	for _, p := range []**float64{&s.Value, &s.Samples} {
		if *p != nil && (math.IsNaN(**p) || math.IsInf(**p, 0)) {
			*p = nil
		}
	}
	return s
}

func (s State) checkPromote(e Promote) error {
	ro := s.active()
	if ro == nil {
		return s.refuse("promote", ErrNotActive, "")
	}
	gated := s.gated()
	if len(gated) == 0 {
		return s.refuse("promote", ErrStatus, fmt.Sprintf("rollout %s waits at no gate", ro.ID))
	}
	if len(s.at(e.Of, gated)) == 0 {
		return s.elsewhere("promote", e.Of, gated)
	}
	if e.By == ro.By {
		return s.refuse("promote", ErrStatus, fmt.Sprintf("%s started rollout %s; somebody else has to pass over its gates", e.By, ro.ID))
	}
	return nil
}

// gated returns the regions of the current wave that wait at a gate.
func (s State) gated() []wire.Region {
	ro := s.Rollout
	return slices.DeleteFunc(slices.Clone(ro.Plan.Waves[ro.Wave].Regions), func(r wire.Region) bool {
		over, baking := s.baked(r)
		return !baking || s.Now.Before(over) || s.passed(r, over)
	})
}

func (t *turn) promote(e Promote) {
	for _, r := range t.s.at(e.Of, t.s.gated()) {
		rr := t.s.Regions[r]
		rr.Waived = e.By
		t.set(r, rr)
		t.decide(KindApprove, r, by(e.By), "%s lets %s go on without its gates, this once", e.By, r)
	}
}
