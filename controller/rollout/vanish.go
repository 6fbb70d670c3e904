package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// vanished returns why an agent that switched forward, or was about to, is missed, or "". It
// is no failure: what took it away may be a partition. But going on without it would be
// deaf to the one sign that a release kills nodes, so it holds the region, whatever
// MaxUnreachable says.
func (s State) vanished(r wire.Region, a *Agent) string {
	rr := s.Regions[r]
	switch rr.Phase {
	case PhaseActivating, PhasePurging, PhaseBaking:
	default:
		return ""
	}
	e := rr.epoch()
	begun := a.Report != nil && a.Report.Next != nil && a.Report.Next.Epoch == e && a.Report.Next.State == wire.StateSwitching
	if !switched(a, e) && !begun {
		return ""
	}
	away := s.Now.Sub(a.Stored)
	if away <= s.lost()/2 {
		return ""
	}
	missing, asked := s.votes(r, a.ID)
	if away <= s.lost() && !(asked >= 2 && 2*missing > asked) {
		return ""
	}
	why := fmt.Sprintf("not heard of for %s after it switched", away.Round(time.Second))
	if asked > 0 {
		why += fmt.Sprintf("; %d of %d peers miss it", missing, asked)
	}
	return why
}

// votes returns how many of the region's live agents that tell whom their gossip sees do
// not see the agent. Gossip may make a region wait, and nothing else.
func (s State) votes(r wire.Region, id wire.AgentID) (missing, asked int) {
	for _, a := range s.View.Members[r].Agents {
		if a.ID == id || len(a.Peers) == 0 || s.presence(a) != live {
			continue
		}
		asked++
		missing += one(!slices.Contains(a.Peers, id))
	}
	return missing, asked
}
