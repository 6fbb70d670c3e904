package lab_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// decided reports whether the rollout of version has made a decision of a kind.
func decided(version string, kind rollout.Kind) func(controller.AppView) bool {
	return func(v controller.AppView) bool {
		if v.Rollout == nil || string(v.Rollout.Target.Version) != version {
			return false
		}
		for _, d := range v.Rollout.Decisions {
			if d.Kind == kind {
				return true
			}
		}
		return false
	}
}

// The controller, and with it the bus, is killed without warning as soon as a rollout
// has come to each kind of decision, and an agent of the wave with it. Every rollout
// still ends as if nothing had happened.
func TestKilledProcesses(t *testing.T) {
	l := start(t, lab.Config{
		Regions: []wire.Region{"eu-west", "us-east"}, Agents: 2,
		Apps: []lab.App{{Name: app, Plane: lab.Builtin}},
		Lost: 10 * time.Second, // a restart takes less
	})
	for i, kind := range []rollout.Kind{rollout.KindStart, rollout.KindActivate, rollout.KindConfirm, rollout.KindPurge, rollout.KindPromote} {
		version := fmt.Sprintf("1.%d.0", i)
		publish(t, l, bundle(t, version, "hello "+version, false))
		begin(t, l, app, version, "healthy: 200ms\ndeadline: 1m\nwaves:\n- regions: [eu-west]\n- regions: [us-east]\n")
		if _, err := l.WaitApp(t.Context(), app, "decision "+string(kind), decided(version, kind)); err != nil {
			t.Fatal(err)
		}
		victim := l.Nodes[i%len(l.Nodes)].ID
		l.KillController()
		l.KillAgent(victim)
		if err := l.StartAgent(victim); err != nil {
			t.Fatal(err)
		}
		if err := l.StartController(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := ended(t, t.Context(), l, app, rollout.StatusDone)
		for _, s := range v.Summary.Regions {
			if s.Running != wire.Version(version) || s.Epoch != wire.Epoch(i+1) || s.Counts.Confirmed != s.Counts.Total {
				t.Errorf("killed after %s: region %s runs %s at epoch %s, %d of %d confirmed", kind, s.Region, s.Running, s.Epoch, s.Counts.Confirmed, s.Counts.Total)
			}
			if len(l.StandIns.Purges(s.Region)) == 0 {
				t.Errorf("killed after %s: region %s was never purged", kind, s.Region)
			}
		}
		if eu, us := region(t, v, "eu-west"), region(t, v, "us-east"); us.Times.Activated.Before(eu.Times.Barrier) {
			t.Errorf("killed after %s: us-east was activated before the barrier of eu-west", kind)
		}
	}
}
