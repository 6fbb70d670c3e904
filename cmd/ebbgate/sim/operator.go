package sim

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// catalog is what was published.
type catalog struct {
	targets []wire.Target                // ascending
	floors  map[wire.Digest]wire.Version // of a bundle's manifest
}

// operator commands at random.
type operator struct{ commands int }

// build draws fleet and faults.
func (w *world) build() {
	w.drawFaults()
	w.faulty = w.one(4) // else only once everybody runs something
	w.bus = &bus{w: w, journal: map[string]record{}, wants: map[wire.Region]*document{}, reports: map[wire.AgentID]message{}, cut: map[wire.Region]bool{}}
	w.nodes, w.byID, w.caches = map[wire.Region][]*node{}, map[wire.AgentID]*node{}, map[wire.Region]*cache{}
	w.catalog.floors = map[wire.Digest]wire.Version{}
	w.checks.init()
	regions := 2 + w.rnd.IntN(2)
	agents := 5 + w.rnd.IntN(8)
	if w.one(10) {
		regions, agents = 2+w.rnd.IntN(4), 10+w.rnd.IntN(31)
	}
	for i := range regions {
		r := regionName(i)
		w.regions = append(w.regions, r)
		w.caches[r] = &cache{region: r, fetch: w.between(200*time.Millisecond, 4*time.Second), last: map[content]time.Time{}}
	}
	for i := range max(agents, regions) {
		r := w.regions[i%regions]
		n := &node{w: w, id: agentName(r, i/regions), region: r, clean: true, planeUp: true, trouble: map[wire.Version]fault{},
			releases: map[wire.Digest]bool{}, allowed: map[content]bool{}, confirmed: map[wire.Epoch]bool{}}
		if w.on[faultSkew] {
			n.skew = w.between(-time.Minute, time.Minute)
			w.count("fault " + string(faultSkew))
		}
		w.nodes[r] = append(w.nodes[r], n)
		w.byID[n.id] = n
		w.all = append(w.all, n)
	}
	for i := range 1 + w.rnd.IntN(2) {
		w.ctls = append(w.ctls, &controller{w: w, name: fmt.Sprintf("c%d", i+1), disk: map[string]record{}, outbox: map[string]int{}})
	}
	w.log("%d regions, %d agents, %d controllers, faults %v", regions, len(w.all), len(w.ctls), w.on)
}

// play is the history: a first release, faults and commands, then everything heals and
// has to come to rest.
func (w *world) play() {
	for _, c := range w.ctls {
		w.after(w.between(0, time.Second), c.start)
	}
	for _, n := range w.all {
		w.after(w.between(0, time.Second), n.start)
	}
	w.run(15 * time.Second)
	first := w.plan()
	first.MaxUnavailable = rollout.Share(50)
	w.start(w.publish(), first)
	w.run(2 * time.Minute)
	w.faulty = true
	w.strike()
	for range 4 + w.rnd.IntN(6) {
		w.command()
		w.run(w.between(10*time.Second, 2*time.Minute))
	}
	w.heal()
	w.rest()
}

func (w *world) publish() wire.Target {
	v := wire.Version(fmt.Sprintf("%d.0", len(w.catalog.targets)+1))
	d := wire.DigestOf([]byte(v))
	t := wire.Target{Digest: d, Version: v, Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("pack " + v))}}}
	if len(w.catalog.targets) > 1 && w.strikes(faultFloor, 2) {
		w.catalog.floors[d] = w.catalog.targets[len(w.catalog.targets)-w.rnd.IntN(2)-1].Version
	}
	w.catalog.targets = append(w.catalog.targets, t)
	share := []int{4, 12, 40}[w.rnd.IntN(3)]
	for _, n := range w.all {
		w.trouble(n, v, share)
	}
	return t
}

func (w *world) start(t wire.Target, p rollout.Plan) {
	w.op.commands++
	id := fmt.Sprintf("ro%d", w.op.commands)
	w.order(rollout.Start{Now: w.now, ID: id, By: "kim", Seed: id, Target: t, Plan: p})
}

// order gives a command to the leader, if there is one and it can take it.
func (w *world) order(e rollout.Event) bool {
	c := w.leader()
	if c == nil || rollout.Check(c.state, e) != nil {
		return false
	}
	w.log("kim: %T", e)
	c.step(e)
	return true
}

func (w *world) command() {
	switch w.rnd.IntN(12) {
	case 0, 1:
		w.order(rollout.Pause{Now: w.now, By: "kim"})
	case 2, 3, 4:
		w.order(rollout.Resume{Now: w.now, By: "kim"})
	case 5:
		w.order(rollout.Abort{Now: w.now, By: "kim"})
	case 6, 7:
		w.op.commands++
		if w.order(rollout.Undo{Now: w.now, ID: fmt.Sprintf("un%d", w.op.commands), By: "kim"}) {
			w.count("undo")
		}
	case 8:
		w.start(w.catalog.targets[w.rnd.IntN(len(w.catalog.targets))], w.plan())
	default:
		w.start(w.publish(), w.plan())
	}
}

func seconds(n int) wire.Duration { return wire.Duration(time.Duration(n) * time.Second) }

// plan draws one that goes over all regions.
func (w *world) plan() rollout.Plan {
	rnd := w.rnd
	p := rollout.Plan{
		MaxUnavailable: []rollout.Amount{rollout.Count(1), rollout.Count(2), rollout.Share(50), rollout.Share(30)}[rnd.IntN(4)],
		MaxUnreachable: []rollout.Amount{rollout.Count(0), rollout.Count(0), rollout.Count(1), rollout.Share(30)}[rnd.IntN(4)],
		MaxFailures:    []int{0, 0, 1}[rnd.IntN(3)],
		Healthy:        seconds(rnd.IntN(4)),
		Soak:           seconds(rnd.IntN(40)),
		Deadline:       seconds(80 + rnd.IntN(100)),
		ApproveWithin:  seconds(3600),
		OnPurgeFailure: []rollout.OnFailure{rollout.HoldOnly, rollout.HoldOnly, rollout.RevertWave}[rnd.IntN(3)],
		OnFailure:      []rollout.OnFailure{rollout.RevertWave, rollout.RevertWave, rollout.RevertAll, rollout.HoldOnly}[rnd.IntN(4)],
	}
	regions := append([]wire.Region(nil), w.regions...)
	rnd.Shuffle(len(regions), func(i, j int) { regions[i], regions[j] = regions[j], regions[i] })
	for len(regions) > 0 {
		k := 1 + rnd.IntN(len(regions))
		wave := rollout.Wave{Regions: regions[:k:k], Strategy: rollout.StrategyRolling, MaxParallel: rnd.IntN(3), Bake: seconds(rnd.IntN(15))}
		if w.one(3) {
			wave.Strategy = rollout.StrategyCanary
			wave.Steps = []rollout.PlanStep{{Activate: rollout.Count(1), Bake: seconds(rnd.IntN(5))}, {Activate: rollout.Share(60)}, {Activate: rollout.Share(100)}}
		}
		p.Waves = append(p.Waves, wave)
		regions = regions[k:]
	}
	return p
}
