package rollout

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// vanished returns the agents of a region, ascending, that switched forward, or were about
// to, and are missed. That is no failure: what took them away may be a partition. But going
// on without them would be deaf to the one sign that a release kills nodes, so they hold the
// region, whatever MaxUnreachable says. After Lost an agent is missed; after half of that,
// if most of its peers that say whom their gossip sees do not see it. Gossip may make a
// region wait, and nothing else.
func (s State) vanished(r wire.Region) []failure {
	rr := s.Regions[r]
	switch rr.Phase {
	case PhaseActivating, PhasePurging, PhaseBaking:
	default:
		return nil
	}
	var missed []failure
	var seen map[wire.AgentID]int
	asked := 0
	for _, a := range s.View.Members[r].Agents {
		away := s.Now.Sub(a.Stored)
		if a.Drained || away <= s.lost()/2 || !begun(a, rr.epoch()) {
			continue
		}
		if seen == nil {
			seen, asked = s.gossip(r)
		}
		if missing := asked - seen[a.ID]; away > s.lost() || asked >= 2 && 2*missing > asked {
			why := fmt.Sprintf("not heard of for %s after it switched", away.Round(time.Second))
			if asked > 0 {
				why += fmt.Sprintf("; %d of %d peers miss it", missing, asked)
			}
			missed = append(missed, failure{a.ID, why})
		}
	}
	return missed
}

// begun reports whether the agent serves the epoch, or was switching to it.
func begun(a *Agent, e wire.Epoch) bool {
	if switched(a, e) {
		return true
	}
	return a.Report != nil && a.Report.Next != nil && a.Report.Next.Epoch == e && a.Report.Next.State == wire.StateSwitching
}

// maxVoters is how many agents are asked whom their gossip sees. They are enough for a
// majority, and a region of thousands costs no more than one of a hundred.
const maxVoters = 32

// maxPeers is what a report can carry: a list as long may have been cut.
const maxPeers = 1024

// gossip returns how many of the region's live agents see each agent, and how many were
// asked.
func (s State) gossip(r wire.Region) (seen map[wire.AgentID]int, asked int) {
	seen = make(map[wire.AgentID]int)
	for _, a := range s.View.Members[r].Agents {
		if asked == maxVoters {
			break
		}
		if len(a.Peers) == 0 || len(a.Peers) >= maxPeers || s.Now.Sub(a.Stored) > s.lost()/2 {
			continue
		}
		asked++
		for _, id := range a.Peers {
			seen[id]++
		}
	}
	return seen, asked
}
