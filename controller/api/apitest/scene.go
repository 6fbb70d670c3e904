package apitest

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Author is whose bundles a scene rolls out, as the engine says it.
const Author = "ed25519:author"

// Scene is a rollout of edge-proxy from 1.3.0 to 1.4.0 in the real engine, at a point that
// operators have to deal with:
//
//	running     wave 1 switches its first agent
//	paused      the same, paused
//	arming      2 of 3 agents of a blue-green region have it armed
//	skew        all of them have switched, and the region bakes
//	baking      the first step bakes
//	gate        a gate passes, another is below its limit once, a third has no data
//	approval    a step wants two approvals, kim has given one
//	own         the same, of a rollout that somebody called approver has started
//	freeze      nothing new begins until 18:00
//	purging     all agents of eu-west have confirmed it, and its purge is under way
//	second-step eu-west is at the second of its two steps
//	second-wave eu-west is committed, and us-east switches its first agent
//	vanished    the agent that switched first is not heard of
//	going-back  the rollout is taken back, and holds for an agent that is not heard of
//	emergency   an emergency wants two approvals, kim has given one
//	approved    both are given
//	expired     they were not given in time
//	quarantine  the rollout was taken back
//	done        it has ended well
func Scene(name string) rollout.State {
	g := newStage()
	play, known := scenes[name]
	if !known {
		panic("apitest: no scene " + name)
	}
	play(g)
	return g.s
}

// Scenes returns the names of all scenes, in ascending order.
func Scenes() []string { return wire.Keys(scenes) }

var scenes = map[string]func(*stage){
	"running": func(g *stage) {
		g.start(gated, nil)
		g.until("the first agent may switch", func() bool { return g.phase("eu-west") == rollout.PhaseActivating })
	},
	"paused": func(g *stage) {
		g.start(gated, nil)
		g.until("the first agent may switch", func() bool { return g.phase("eu-west") == rollout.PhaseActivating })
		g.feed(rollout.Pause{Now: g.s.Now, By: "alice"})
	},
	"arming": func(g *stage) {
		g.slow = "eu-west-3"
		g.start(blueGreen, nil)
		g.until("all but one are armed", func() bool { return g.region("eu-west").Counts.Armed == 2 })
	},
	"skew": func(g *stage) {
		g.start(blueGreen, nil)
		g.until("the region bakes", func() bool { return g.phase("eu-west") == rollout.PhaseBaking })
	},
	"baking": func(g *stage) {
		g.start(gated, nil)
		g.until("the first step bakes", func() bool { return !g.region("eu-west").BakesUntil.IsZero() })
	},
	"gate": func(g *stage) {
		g.start(gated, nil)
		g.until("the region holds", g.holds(rollout.HoldGate))
	},
	"approval": approval,
	"own": func(g *stage) {
		g.by = "approver"
		approval(g)
	},
	"purging": func(g *stage) {
		g.start(blueGreen, nil)
		g.until("the region is purged", func() bool { return g.phase("eu-west") == rollout.PhasePurging })
	},
	"second-step": func(g *stage) {
		g.start("waves: [{regions: [eu-west], steps: [{activate: 1}, {activate: 100%}]}, {regions: [us-east]}]", nil)
		g.until("the second step is under way", func() bool { return g.region("eu-west").Step == 2 })
	},
	"second-wave": func(g *stage) {
		g.start(blueGreen, nil)
		g.until("the second region switches", func() bool { return g.phase("us-east") == rollout.PhaseActivating })
	},
	"freeze": func(g *stage) {
		g.start("freeze: [{days: [mon], from: '11:00', until: '18:00', reason: black friday week}]\n"+gated, nil)
		g.until("the region holds", g.holds(rollout.HoldFreeze))
	},
	"vanished": func(g *stage) {
		g.start("max_unreachable: 1\n"+gated, nil)
		g.until("the first agent has switched", func() bool { return g.region("eu-west").Counts.Confirmed == 1 })
		for _, a := range g.region("eu-west").Agents {
			if a.Version == "1.4.0" {
				g.silent = a.ID
			}
		}
		g.until("the region holds", g.holds(rollout.HoldVanished))
	},
	"going-back": func(g *stage) {
		g.bad = `nginx -t: unknown directive "prxy_pass"`
		g.start(gated, nil)
		g.until("the rollout goes back", func() bool { return g.phase("eu-west") == rollout.PhaseReverting })
		g.silent = "eu-west-1"
		g.until("the region holds", g.holds(rollout.HoldSilent))
	},
	"emergency": emergency,
	"approved": func(g *stage) {
		emergency(g)
		g.feed(rollout.Approve{Now: g.s.Now, By: "alice"})
		g.second()
	},
	"expired": func(g *stage) {
		emergency(g)
		g.now = g.s.Rollout.Glass.Expires
		g.until("the rollout is over", g.ended)
	},
	"quarantine": func(g *stage) {
		g.bad = `nginx -t: unknown directive "prxy_pass"`
		g.start(gated, nil)
		g.until("the rollout is over", g.ended)
	},
	"done": func(g *stage) {
		g.start("waves: [{regions: [eu-west]}, {regions: [us-east]}]", nil)
		g.until("the rollout is over", g.ended)
	},
}

func approval(g *stage) {
	g.answers["latency"], g.answers["traffic"] = value(180), value(42)
	g.start(gated, nil)
	g.until("the region holds", g.holds(rollout.HoldApproval))
	g.feed(rollout.Approve{Now: g.s.Now, By: "kim"})
}

func emergency(g *stage) {
	g.start(gated, &rollout.Emergency{Reason: "origin is melting", Expires: g.now.Add(time.Hour)})
	g.until("the region holds", g.holds(rollout.HoldApproval))
	g.feed(rollout.Approve{Now: g.s.Now, By: "kim"})
}

const (
	blueGreen = `
waves:
- {regions: [eu-west], strategy: blue-green, bake: 10m}
- {regions: [us-east]}
`
	gated = `
waves:
- regions: [eu-west]
  steps: [{activate: 1, bake: 30s, approve: 2}, {activate: 100%}]
  bake: 5m
- regions: [us-east]
  approve: 1
gates:
- {name: errors, prometheus: main, query: 'errors{agent=~"$agents"}', samples: 'requests{agent=~"$agents"}', min_samples: 500, max: 0.01, max_ratio: 2}
- {name: latency, prometheus: main, query: 'p99_ms{agent=~"$agents"}', max: 250, failures: 5}
- {name: traffic, prometheus: main, query: 'requests{agent=~"$agents"}', min: 10}
`
)

func sample(value, samples float64) rollout.Sample {
	return rollout.Sample{Value: &value, Samples: &samples}
}

func value(v float64) rollout.Measured { return rollout.Measured{Cohort: rollout.Sample{Value: &v}} }

// stage drives the engine as a controller does, with agents that follow their orders within
// a second and purges that take two.
type stage struct {
	s       rollout.State
	now     time.Time
	seq     uint64
	by      string // who starts
	running map[wire.AgentID]*wire.Running
	answers map[string]rollout.Measured // gate → answer, where it has one
	ask     []rollout.Measure           // not answered yet
	slow    wire.AgentID                // arms nothing
	silent  wire.AgentID                // says nothing
	bad     string                      // how whoever switches to 1.4.0 fails
}

func newStage() *stage {
	g := &stage{
		s: rollout.State{Record: rollout.Record{App: App}}, now: Start.Add(-time.Hour), by: "alice", running: map[wire.AgentID]*wire.Running{},
		answers: map[string]rollout.Measured{
			"errors":  {Cohort: sample(0.0042, 1240), Rest: sample(0.0031, 2480)},
			"latency": value(263),
		},
	}
	for _, r := range regions {
		m := rollout.Members{Now: g.now, Region: r}
		for i := range 3 {
			m.Agents = append(m.Agents, rollout.Member{ID: wire.AgentID(fmt.Sprintf("%s-%d", r, i+1))})
		}
		g.feed(m)
	}
	g.second()
	g.begin("20261123-110000-000-before", "1.3.0", "waves: [{regions: [eu-west, us-east]}]", nil)
	g.until("1.3.0 runs", g.ended)
	g.now = Start.Add(-time.Second)
	g.second()
	return g
}

func (g *stage) start(plan string, em *rollout.Emergency) {
	g.begin("20261123-120000-000-abcdef", "1.4.0", plan, em)
}

func (g *stage) begin(id string, v wire.Version, plan string, em *rollout.Emergency) {
	p, err := rollout.ParsePlan("scene", []byte(plan))
	if err != nil {
		panic(err)
	}
	e := rollout.Start{Now: g.now, ID: id, By: g.by, Seed: id, Plan: p, Source: Author, Emergency: em,
		Target: wire.Target{Digest: wire.DigestOf([]byte(v)), Version: v, Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("pack " + v))}}}}
	if err := rollout.Check(g.s, e); err != nil {
		panic(err)
	}
	g.feed(e)
}

func (g *stage) feed(e rollout.Event) {
	next, effects := rollout.Step(g.s, e)
	g.s = next
	for _, effect := range effects {
		if m, ok := effect.(rollout.Measure); ok {
			g.ask = append(g.ask, m)
		}
	}
}

// until lets time pass until a condition holds.
func (g *stage) until(what string, ok func() bool) {
	for range 1000 {
		if ok() {
			return
		}
		g.second()
	}
	panic("apitest: it never came that " + what + ":\n" + strings.Join(rollout.Explain(g.s), "\n"))
}

func (g *stage) second() {
	g.now = g.now.Add(time.Second)
	g.feed(rollout.Tick{Now: g.now})
	for _, r := range regions {
		for i, a := range g.s.View.Members[r].Agents {
			if a.ID != g.silent {
				g.seq++
				g.feed(rollout.Reported{Now: g.now, Region: r, Agent: a.ID, Stored: g.now, Incarnation: 1, Sequence: g.seq,
					Report: g.follow(a.ID, rollout.OrderFor(g.s, r), time.Duration(i)*6*time.Millisecond)})
			}
		}
		if p := g.s.Regions[r].Purge; p != nil && p.Verified.IsZero() && g.now.Sub(p.Requested) >= 2*time.Second {
			g.feed(rollout.PurgeVerified{Now: g.now, Region: r, Epoch: p.Epoch, Round: p.Round})
		}
	}
	asked := g.ask
	g.ask = nil
	for _, m := range asked {
		answer := g.answers[m.Gate.Name]
		answer.Now, answer.Region, answer.Epoch, answer.Gate, answer.Round = g.now, m.Region, m.Epoch, m.Gate.Name, m.Round
		g.feed(answer)
	}
}

// follow is what an agent reports one second after it was ordered something.
func (g *stage) follow(id wire.AgentID, o wire.Order, late time.Duration) wire.AppReport {
	report := wire.AppReport{Plane: "nginx/1.31.0", Traits: []string{wire.TraitArms, wire.TraitDropFree}}
	want := o.Base
	if n := o.Next; n != nil {
		if n.Phase == wire.PhaseActivate && n.Cohort.Has(id) {
			want = &n.Target
		} else {
			report.Next = &wire.Progress{Epoch: n.Epoch, Digest: n.Digest, Version: n.Version, State: wire.StateStaged}
			if n.Cohort.Has(id) && id != g.slow {
				report.Next.State = wire.StateArmed
			}
		}
	}
	switch run := g.running[id]; {
	case want == nil || run != nil && run.Epoch >= want.Epoch:
	case g.bad != "" && want.Version == "1.4.0":
		report.Next = &wire.Progress{Epoch: want.Epoch, Digest: want.Digest, Version: want.Version, State: wire.StateReverted, Error: g.bad}
	default:
		g.running[id] = &wire.Running{Epoch: want.Epoch, Digest: want.Digest, Version: want.Version, State: wire.StateConfirmed, Since: g.now.Add(late)}
	}
	if run := g.running[id]; run != nil {
		c := *run
		report.Running = &c
	}
	return report
}

func (g *stage) phase(r wire.Region) rollout.RegionPhase { return g.s.Regions[r].Phase }

func (g *stage) ended() bool { return g.s.Rollout.Status.Ended() }

func (g *stage) region(r wire.Region) rollout.RegionSummary {
	for _, sum := range rollout.Status(g.s).Regions {
		if sum.Region == r {
			return sum
		}
	}
	panic("apitest: no region " + string(r))
}

func (g *stage) holds(kind rollout.HoldKind) func() bool {
	return func() bool {
		h := g.s.Regions["eu-west"].Hold
		return h != nil && h.Kind == kind
	}
}
