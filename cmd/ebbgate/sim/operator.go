package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// catalog is what was published.
type catalog struct {
	targets []wire.Target                // ascending
	floors  map[wire.Digest]wire.Version // of a bundle's manifest
}

// version returns which version a bundle is.
func (c catalog) version(d wire.Digest) wire.Version {
	for _, t := range c.targets {
		if t.Digest == d {
			return t.Version
		}
	}
	return ""
}

// operator commands at random.
type operator struct {
	luck    luck
	started int // rollouts
}

// play is the history: a first release, faults and commands, then everything heals and
// has to come to rest.
func (w *world) play() {
	l := w.op.luck
	for _, c := range w.ctls {
		w.after(l.between(0, time.Second), c.start)
	}
	for _, n := range w.all {
		w.after(l.between(0, time.Second), n.start)
	}
	w.run(15 * time.Second)
	first := w.plan(w.luck("first plan"))
	first.MaxUnavailable, first.Freeze = rollout.Share(50), nil
	w.start(w.publish(), first)
	w.run(2 * time.Minute)
	w.faulty = true
	w.strike()
	w.people(w.luck("people"))
	doubt := w.luck("doubt")
	w.doubt(doubt, doubt.one(3) || w.quest.phase == rollout.PhaseRetreating)
	for i := range min(4+l.IntN(6), w.res.Shape.Commands) {
		l := w.luck(fmt.Sprintf("command %d", i))
		w.res.Commands++
		w.command(l)
		w.run(l.between(10*time.Second, 2*time.Minute))
		w.prepare(l)
	}
	w.heal()
	w.rest()
}

func (w *world) publish() wire.Target {
	v := wire.Version(fmt.Sprintf("%d.0", len(w.catalog.targets)+1))
	d := wire.DigestOf([]byte(v))
	t := wire.Target{Digest: d, Version: v, Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("pack " + v))}}}
	w.catalog.targets = append(w.catalog.targets, t)
	if l, on := w.on[faultFloor]; on && l.one(2) {
		n := len(w.catalog.targets)
		w.catalog.floors[d] = w.catalog.targets[max(0, n-1-l.IntN(3))].Version
	}
	share := []int{4, 12, 40}[w.luck("share of "+string(v)).IntN(3)]
	for _, n := range w.all {
		w.trouble(n, v, share)
	}
	return t
}

func (w *world) start(t wire.Target, p rollout.Plan) {
	w.op.started++
	id := fmt.Sprintf("ro%d", w.op.started)
	w.order(func(now time.Time) rollout.Event {
		return rollout.Start{Now: now, ID: id, By: "kim", Seed: id, Target: t, Plan: p}
	})
}

// order gives a command to a controller that thinks that it leads, if there is one and it
// can take it.
func (w *world) order(command func(now time.Time) rollout.Event) bool {
	var lead []*controller
	for _, c := range w.ctls {
		if c.takes() {
			lead = append(lead, c)
		}
	}
	if len(lead) == 0 {
		return false
	}
	c := lead[w.op.luck.IntN(len(lead))]
	e := command(c.clock())
	if rollout.Check(c.state, e) != nil {
		return false
	}
	w.log("kim to %s: %T", c.name, e)
	if c != w.leader() {
		w.count("command taken without the bus")
	}
	return c.step(e)
}

func (w *world) resume() bool {
	return w.order(func(now time.Time) rollout.Event { return rollout.Resume{Now: now, By: "kim"} })
}

// people approve what waits for them, now and then, and rarely pass over a gate.
func (w *world) people(l luck) {
	name := []string{"lee", "ann"}[l.IntN(2)]
	w.order(func(now time.Time) rollout.Event {
		if l.one(12) {
			return rollout.Promote{Now: now, By: name}
		}
		return rollout.Approve{Now: now, By: name}
	})
	w.after(l.between(2*time.Second, 20*time.Second), func() { w.people(l) })
}

// doubt takes steps back as long as not everything is well: in some histories many of them,
// in all of them one whose region is still purged of what was before.
func (w *world) doubt(l luck, often bool) {
	if c := w.leader(); c != nil && w.faulty {
		for _, r := range w.regions {
			rr := c.state.Regions[r]
			if rr.Phase != rollout.PhaseActivating || rr.Step == 0 || !w.widened(r, rr) {
				continue
			}
			if p := rr.Purge; p != nil && p.Verified.IsZero() || often && l.one(3) {
				w.order(func(now time.Time) rollout.Event { return rollout.StepBack{Now: now, By: "ann"} })
				break
			}
		}
	}
	w.after(l.between(200*time.Millisecond, 2*time.Second), func() { w.doubt(l, often) })
}

// widened reports whether agents of a step after the first have switched.
func (w *world) widened(r wire.Region, rr rollout.RegionRecord) bool {
	return slices.ContainsFunc(w.nodes[r], func(n *node) bool {
		return n.live.epoch == rr.Next.Epoch && !rr.Before.Has(n.id)
	})
}

func (w *world) command(l luck) {
	switch l.IntN(17) {
	case 13:
		w.order(func(now time.Time) rollout.Event { return rollout.StepBack{Now: now, By: "kim"} })
	case 14:
		w.order(func(now time.Time) rollout.Event { return rollout.Abort{Now: now, By: "kim", All: true} })
	case 15, 16:
		t, p := w.publish(), w.plan(l)
		w.op.started++
		id := fmt.Sprintf("ro%d", w.op.started)
		c := w.leader()
		if c == nil {
			return
		}
		taken := w.order(func(now time.Time) rollout.Event {
			e := rollout.Start{Now: now, ID: id, By: "kim", Seed: id, Target: t, Plan: p}
			if ro := c.state.Rollout; ro != nil && !ro.Status.Ended() {
				e.Supersede = ro.ID
			}
			if l.one(2) {
				e.Emergency = &rollout.Emergency{Reason: "test", Expires: now.Add(l.between(20*time.Second, 3*time.Minute))}
			}
			return e
		})
		if taken && c.state.Rollout.Glass != nil {
			w.count("emergency")
		}
	case 0, 1:
		w.order(func(now time.Time) rollout.Event { return rollout.Pause{Now: now, By: "kim"} })
	case 2, 3, 4:
		w.resume()
	case 5, 6:
		w.order(func(now time.Time) rollout.Event { return rollout.Abort{Now: now, By: "kim"} })
	case 7, 8:
		w.op.started++
		id := fmt.Sprintf("un%d", w.op.started)
		if w.order(func(now time.Time) rollout.Event { return rollout.Undo{Now: now, ID: id, By: "kim"} }) {
			w.count("undo")
		}
	case 9:
		w.start(w.catalog.targets[l.IntN(len(w.catalog.targets))], w.plan(l))
	default:
		w.start(w.publish(), w.plan(l))
	}
}

// gate is the name of the only gate.
const gate = "errors"

func seconds(n int) wire.Duration { return wire.Duration(time.Duration(n) * time.Second) }

// plan draws one, mostly over all regions.
func (w *world) plan(l luck) rollout.Plan {
	p := rollout.Plan{
		MaxUnavailable: []rollout.Amount{rollout.Count(1), rollout.Count(2), rollout.Share(50), rollout.Share(30)}[l.IntN(4)],
		MaxUnreachable: []rollout.Amount{rollout.Count(0), rollout.Count(1), rollout.Share(30), rollout.Share(50)}[l.IntN(4)],
		MaxFailures:    []int{0, 0, 1}[l.IntN(3)],
		Healthy:        seconds(l.IntN(4)),
		Soak:           seconds(l.IntN(40)),
		Deadline:       seconds(80 + l.IntN(100)),
		ApproveWithin:  seconds(3600),
		OnFailure:      []rollout.OnFailure{rollout.RevertWave, rollout.RevertStep, rollout.RevertAll, rollout.HoldOnly}[l.IntN(4)],
		OnPurgeFailure: []rollout.OnFailure{rollout.HoldOnly, rollout.HoldOnly, rollout.RevertWave}[l.IntN(3)],
	}
	if l.one(4) {
		limit := 1.0
		p.Gates = []rollout.Gate{{Name: gate, Prometheus: "main", Query: "errors", Max: &limit, Interval: seconds(3 + l.IntN(10)), Failures: 1 + l.IntN(2)}}
	}
	if l.one(8) {
		from := w.now.Add(l.between(0, 2*time.Minute))
		p.Freeze = []rollout.Window{{From: from.Format(time.RFC3339), Until: from.Add(l.between(10*time.Second, time.Minute)).Format(time.RFC3339)}}
	}
	regions := append([]wire.Region(nil), w.regions...)
	l.Shuffle(len(regions), func(i, j int) { regions[i], regions[j] = regions[j], regions[i] })
	if len(w.catalog.targets) > 1 && l.one(2) {
		regions = regions[:max(1, len(regions)-1)]
	}
	for len(regions) > 0 {
		k := 1 + l.IntN(len(regions))
		wave := rollout.Wave{Regions: regions[:k:k], Strategy: rollout.StrategyRolling, MaxParallel: l.IntN(3), Bake: seconds(l.IntN(15))}
		kind := l.IntN(5)
		switch w.quest.phase {
		case rollout.PhaseArming, rollout.PhaseRetreating:
			kind = 0
		}
		switch kind {
		case 0, 1:
			wave.Strategy = []rollout.Strategy{rollout.StrategyCanary, rollout.StrategyBlueGreen}[l.IntN(2)]
			if w.quest.phase == rollout.PhaseArming {
				wave.Strategy = rollout.StrategyBlueGreen
			}
			wave.Steps = []rollout.PlanStep{{Activate: rollout.Count(1), Bake: seconds(l.IntN(5)), Approve: l.IntN(5) / 4}, {Activate: rollout.Share(60)}, {Activate: rollout.Share(100)}}
		case 2:
			wave.Strategy = rollout.StrategyCanary
			wave.Growth = &rollout.Growth{Exponential: rollout.Share(20), Factor: 2, Bake: seconds(l.IntN(4))}
		}
		if l.one(8) {
			wave.Approve = 1 + l.IntN(2)
		}
		p.Waves = append(p.Waves, wave)
		regions = regions[k:]
	}
	return p
}
