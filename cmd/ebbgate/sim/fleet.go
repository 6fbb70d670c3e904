package sim

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// build draws fleet and faults.
func (w *world) build() {
	w.drawFaults()
	l := w.luck("fleet")
	w.faulty = l.one(4) // else only once everybody runs something
	w.slow = 1 + 9*w.luck("slow").IntN(2)
	w.phase = map[wire.Region]rollout.RegionPhase{}
	w.nodes, w.byID, w.caches = map[wire.Region][]*node{}, map[wire.AgentID]*node{}, map[wire.Region]*cache{}
	w.catalog.floors = map[wire.Digest]wire.Version{}
	w.op.luck = w.luck("operator")
	w.checks.init()
	w.bus = newBus(w)

	regions, agents := 2+l.IntN(2), 5+l.IntN(8)
	if l.one(8) {
		regions, agents = 2+l.IntN(4), 10+l.IntN(31)
	}
	switch w.quest.phase {
	case rollout.PhaseArming, rollout.PhaseRetreating: // they last where there are many agents, and steps where these are of few kinds
		regions, agents = 2, 8+l.IntN(5)
	}
	regions = min(regions, w.res.Shape.Regions)
	agents = max(regions, min(agents, w.res.Shape.Agents))
	for i := range regions {
		r := regionName(i)
		w.regions = append(w.regions, r)
		w.caches[r] = &cache{region: r, fetch: l.between(200*time.Millisecond, 8*time.Second), last: map[content]time.Time{},
			untold: map[content]map[turn]bool{}}
	}
	for i := range agents {
		w.enroll(w.regions[i%regions], i/regions)
	}
	controllers := 2
	if l.one(5) {
		controllers = 3
	}
	for i := range controllers {
		name := fmt.Sprintf("c%d", i+1)
		w.ctls = append(w.ctls, &controller{w: w, luck: w.luck(name), name: name, self: name, disk: map[string]record{}, outbox: map[string]accepted{}})
	}
	w.res.Regions, w.res.Agents = regions, agents
	w.log("%d regions, %d agents, %d controllers, faults %v", regions, agents, controllers, w.res.Faults)
}

func (w *world) enroll(r wire.Region, i int) {
	n := &node{
		w: w, id: agentName(r, i), region: r, clean: true, planeUp: true,
		trouble: map[wire.Version]fault{}, releases: map[wire.Digest]bool{}, rotten: map[wire.Digest]bool{},
		allowed: map[content]bool{}, confirmed: map[wire.Epoch]bool{},
	}
	n.luck = w.luck(string(n.id))
	n.arms = n.luck.one(2)
	if n.build = []string{"1.0", "1.1"}[n.luck.IntN(2)]; w.quest.phase == rollout.PhaseRetreating {
		n.build = "1.0"
	}
	w.nodes[r] = append(w.nodes[r], n)
	w.byID[n.id] = n
	w.all = append(w.all, n)
}

func regionName(i int) wire.Region                { return wire.Region(fmt.Sprintf("r%d", i+1)) }
func agentName(r wire.Region, i int) wire.AgentID { return wire.AgentID(fmt.Sprintf("%s-n%d", r, i+1)) }
