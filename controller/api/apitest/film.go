package apitest

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// App is the app of a film.
const App wire.App = "edge-proxy"

// Film is a rollout of edge-proxy from 1.3.0 to 1.4.0 through two waves, of three agents
// in eu-west and 40 in us-east, that ends as end: done, reverted or failed.
func Film(end rollout.RolloutStatus) []controller.AppView {
	s := script{end: end}
	s.eu = []string{"staging", "staging", "silent"}
	s.step(rollout.KindStart, "", "alice started edge-proxy 1.4.0")
	s.step(rollout.KindStage, "eu-west", "all 3 live agents of eu-west have 1.4.0 staged")
	s.eu = []string{"switching", "staged", "staged"}
	s.step(rollout.KindActivate, "eu-west", "1 of 3 agents of eu-west may switch to epoch 17")
	s.eu = []string{"confirmed", "active", "staged"}
	s.step(rollout.KindWiden, "eu-west", "2 of 3 agents of eu-west may switch")
	if end != rollout.StatusDone {
		s.eu, s.failed = []string{"confirmed", "failed", "staged"}, "nginx -t: unknown directive \"prxy_pass\""
		s.step(rollout.KindRevert, "eu-west", "eu-west-2 failed: eu-west goes back to 1.3.0")
		s.eu, s.failed = []string{"idle", "idle", "idle"}, ""
		s.over = true
		s.step(rollout.KindDone, "", "edge-proxy 1.4.0 ended: "+string(end))
		return s.film
	}
	s.eu = []string{"confirmed", "confirmed", "confirmed"}
	s.step(rollout.KindConfirm, "eu-west", "all 3 serving agents of eu-west confirmed epoch 17")
	s.purged = true
	s.step(rollout.KindBarrier, "eu-west", "the purge of eu-west is verified")
	s.wave = 1
	s.eu = []string{"committed", "committed", "committed"}
	s.step(rollout.KindPromote, "", "wave 2 begins")
	s.us = 25
	s.step(rollout.KindWiden, "us-east", "25 of 40 agents of us-east may switch")
	s.us, s.over = 40, true
	s.step(rollout.KindDone, "", "edge-proxy 1.4.0 is done")
	return s.film
}

// script builds a film.
type script struct {
	end    rollout.RolloutStatus
	eu     []string // states of the agents of eu-west
	us     int      // confirmed agents of us-east
	failed string
	purged bool
	wave   int
	over   bool

	decisions []rollout.Decision
	film      []controller.AppView
}

func (s *script) at() time.Time {
	return Start.Add(time.Duration(len(s.film)) * 1500 * time.Millisecond)
}

func (s *script) step(kind rollout.Kind, region wire.Region, text string) {
	s.decisions = append(s.decisions, rollout.Decision{N: uint64(len(s.decisions) + 1), At: s.at(), Kind: kind, Region: region, Reason: text, Inputs: map[string]string{"by": "alice"}})
	r := &rollout.RolloutSummary{ID: "20261123-120000-abcdef", By: "alice", Version: "1.4.0", Digest: wire.DigestOf([]byte("1.4.0")),
		Status: rollout.StatusRunning, Wave: s.wave, Started: Start}
	if s.failed != "" {
		r.Status, r.Reason = rollout.StatusReverting, "eu-west-2 failed: "+s.failed
	}
	if s.over {
		r.Status, r.Ended = s.end, s.at()
		if s.end != rollout.StatusDone {
			r.Reason = "eu-west-2 failed"
		}
	}
	r.Waves = []rollout.WaveSummary{
		{State: s.state(0), Strategy: rollout.StrategyCanary, Regions: []rollout.RegionSummary{s.euWest()}},
		{State: s.state(1), Strategy: rollout.StrategyRolling, Regions: []rollout.RegionSummary{s.usEast()}},
	}
	s.film = append(s.film, controller.AppView{
		App:     App,
		Summary: rollout.Summary{App: App, Revision: uint64(len(s.film) + 1), At: s.at(), Rollout: r, Regions: []rollout.RegionSummary{s.euWest(), s.usEast()}},
		Rollout: &rollout.Rollout{ID: r.ID, By: r.By, Target: wire.Target{Digest: r.Digest, Version: r.Version}, Plan: rollout.DefaultPlan(regions),
			Wave: s.wave, Status: r.Status, Started: Start, Ended: r.Ended, Decisions: append([]rollout.Decision{}, s.decisions...)},
		Explain: explain(s.decisions),
	})
}

func explain(decisions []rollout.Decision) (lines []string) {
	for _, d := range decisions {
		lines = append(lines, d.Reason)
	}
	return lines
}

func (s *script) state(wave int) string {
	switch {
	case wave < s.wave:
		return "passed"
	case wave == s.wave:
		return "current"
	}
	return "waiting"
}

func (s *script) euWest() rollout.RegionSummary {
	r := rollout.RegionSummary{Region: "eu-west", Phase: rollout.PhaseActivating, Running: "1.3.0", Next: "1.4.0", Epoch: 17, Step: 2, Steps: 4,
		Counts: rollout.Counts{Total: 3, Live: 3}, Times: rollout.Times{Ordered: Start, Staged: Start.Add(1400 * time.Millisecond), Activated: Start.Add(1500 * time.Millisecond)}}
	for i, state := range s.eu {
		a := rollout.AgentSummary{ID: wire.AgentID(fmt.Sprintf("eu-west-%d", i+1)), State: state}
		switch state {
		case "confirmed", "committed":
			r.Counts.Confirmed++
		case "silent":
			r.Counts.Silent++
		case "failed":
			r.Counts.Failed, a.Error = 1, s.failed
		}
		r.Agents = append(r.Agents, a)
	}
	if s.over && s.end != rollout.StatusDone {
		r.Phase, r.Next, r.Step = rollout.PhaseReverted, "", 0
	}
	if s.purged {
		confirmed := Start.Add(7500 * time.Millisecond)
		r.Times.Confirmed, r.Phase = confirmed, rollout.PhaseCommitted
		r.Running, r.Next, r.Step = "1.4.0", "", 0
		r.Purge = &rollout.PurgeRecord{Epoch: 17, Round: 1, Requested: confirmed.Add(12 * time.Millisecond), Verified: confirmed.Add(4 * time.Second)}
	}
	return r
}

func (s *script) usEast() rollout.RegionSummary {
	r := rollout.RegionSummary{Region: "us-east", Running: "1.3.0", Counts: rollout.Counts{Total: 40, Live: 40, Confirmed: s.us}}
	if s.over && s.end != rollout.StatusDone {
		r.Phase = rollout.PhaseDropped
	}
	if s.us > 0 {
		r.Phase, r.Next, r.Epoch = rollout.PhaseActivating, "1.4.0", 9
		r.Times.Ordered = Start.Add(10 * time.Second)
	}
	if s.us == 40 {
		r.Phase, r.Running, r.Next = rollout.PhaseCommitted, "1.4.0", ""
	}
	for i := range 40 {
		state := "waiting"
		if i < s.us {
			state = "confirmed"
		}
		r.Agents = append(r.Agents, rollout.AgentSummary{ID: wire.AgentID(fmt.Sprintf("us-east-%02d", i+1)), State: state})
	}
	return r
}
