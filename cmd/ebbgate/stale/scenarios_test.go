package stale

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// scenario is one rollout and what befalls it.
type scenario struct {
	name   string
	fetch  time.Duration // that the origin of slow pages takes
	manner manner        // of the caches
	// control names the protection that this scenario is about, without which it has to show
	// stale answers; empty: none of its own.
	control string
	plan    string
	// behind is the region whose barrier leaves an agent behind: it is held to the one that
	// follows that agent's activation.
	behind wire.Region
	before func(*play, *testing.T) // before anything is asked
	during func(*play, *testing.T) // once the rollout has begun
	after  func(*play, *testing.T) // once it has ended
	ends   rollout.RolloutStatus   // default: done
}

const (
	// The gap between two purges is two seconds. A fetch of brief is over by then, one of
	// long is not.
	brief = 1500 * time.Millisecond
	long  = 5 * time.Second

	settings = "healthy: 300ms\ndeadline: 1m\n"
	atOnce   = settings + "waves:\n- regions: [eu-north, us-west, sa-east]\n"
	inTurn   = settings + "waves:\n- regions: [eu-north]\n- regions: [us-west, sa-east]\n"
)

var scenarios = []scenario{
	{name: "plain rollout", fetch: brief, plan: inTurn},
	{name: "in flight, longer than the gap", fetch: long, plan: inTurn, control: "no-fence"},
	{name: "in flight, caches without a fence", fetch: brief, plan: atOnce, manner: manner{unfenced: true}, control: "no-second-purge"},
	{name: "soft purges by others, stale-while-revalidate", fetch: brief, plan: atOnce, control: "soft", before: soften},
	{name: "controller killed between the purges", fetch: brief, plan: atOnce, manner: manner{unfenced: true}, during: killBetween},
	{name: "agent late, its node serving", fetch: brief, manner: manner{unfenced: true}, control: "no-late-purge", behind: silenced.Region,
		plan: settings + "max_unreachable: 1\nwaves:\n- regions: [eu-north, us-west, sa-east]\n", before: leave, after: comeBack},
	{name: "bad release taken back", fetch: brief, ends: rollout.StatusReverted, control: "no-rollback-purge", during: turnBad,
		plan: settings + "waves:\n- {regions: [eu-north], bake: 1m}\n- regions: [us-west, sa-east]\n"},
	{name: "purge done, answer lost", fetch: brief, plan: atOnce, manner: manner{losing: true}},
	{name: "shield slower than the edge, without a fence", fetch: brief, plan: atOnce, manner: manner{unfenced: true, lag: 700 * time.Millisecond}, control: "edge-first"},
}

// soften lets an application mark its pages as stale all the time, in all caches.
func soften(p *play, t *testing.T) {
	tick := time.NewTicker(100 * time.Millisecond)
	stop, done := make(chan struct{}), make(chan struct{})
	p.atEnd(func() { close(stop); <-done })
	go func() {
		defer close(done)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, s := range p.fleet.sites {
				for _, at := range tiers {
					if err := softPurge(s.caches[at]); err != nil {
						t.Errorf("an application's purge at the %s of %s: %v", at, s.region, err)
						return
					}
				}
			}
		}
	}()
}

func softPurge(cache string) error {
	req, err := http.NewRequest(methodPurge, "http://"+cache+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Ebbgate-Token", token)
	req.Header.Set("Xkey-Softpurge", "page")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s", resp.Status)
	}
	return err
}

// killBetween kills the controller, and the bus with it, when some region has been purged
// once but not twice.
func killBetween(p *play, t *testing.T) {
	var at wire.Region
	until(t, "a region's first purge", func() bool {
		for _, r := range regions {
			if every, any := p.fleet.doors.purged(r); every == 1 && any == 1 {
				at = r
			}
		}
		return at != ""
	})
	p.fleet.lab.KillController()
	if _, any := p.fleet.doors.purged(at); any != 1 {
		t.Fatalf("%s was purged twice before the controller was dead", at)
	}
	if err := p.fleet.lab.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// leave lets two agents end without a word, while their nodes go on serving: one that is
// in rotation, and one that was drained and taken out of it.
func leave(p *play, t *testing.T) {
	f := p.fleet
	p.atEnd(func() {
		for _, n := range []wire.AgentID{drained.ID, silenced.ID} {
			_ = f.lab.StartAgent(n) // unless they came back: an agent that is dead leaves its nginx running
		}
	})
	f.run(t, "agent", "drain", string(drained.ID), "--region", string(drained.Region), "--yes")
	f.rotate(t, drained.Region, false)
	f.lab.KillAgent(drained.ID)
	f.lab.KillAgent(silenced.ID)
	if err := f.lab.WaitLive(t.Context(), len(f.lab.Nodes)-2); err != nil {
		t.Fatal(err)
	}
}

// comeBack lets them activate what they have missed.
func comeBack(p *play, t *testing.T) {
	f := p.fleet
	p.goOn(t, time.Second) // what the silenced one serves gets into the caches
	for _, n := range []wire.AgentID{drained.ID, silenced.ID} {
		if err := f.lab.StartAgent(n); err != nil {
			t.Fatal(err)
		}
	}
	f.waitState(t, "the late agents to confirm", func(v controller.AppView) bool {
		for _, r := range v.Summary.Regions {
			for _, a := range r.Agents {
				switch wire.State(a.State) {
				case wire.StateConfirmed, wire.StateCommitted, "drained":
				default:
					return false
				}
				if a.Epoch != r.Epoch || a.Error != "" {
					return false
				}
			}
		}
		return true
	})
	p.follows(t, drained.Region)
	p.follows(t, silenced.Region)
	f.run(t, "agent", "undrain", string(drained.ID), "--region", string(drained.Region))
	f.rotate(t, drained.Region, true)
}

// turnBad lets the release fail its probe when its first region has reached its barrier and
// the caches are full of it.
func turnBad(p *play, t *testing.T) {
	p.fleet.waitState(t, "the bad release's barrier", func(v controller.AppView) bool {
		return decided(v, p.version, rollout.KindBarrier) > 0
	})
	p.goOn(t, brief)
	p.fleet.origin.spoil(p.version)
}
