package lab_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/hub/hubtest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A rollout over a user's own cluster of three NATS servers goes on when one of them is
// killed between two waves, whichever it is.
func TestClusterLosesAServer(t *testing.T) {
	c := hubtest.StartCluster(t)
	l := start(t, lab.Config{
		Regions: []wire.Region{"eu-west", "us-east", "ap-south"}, Agents: 2,
		Apps: []lab.App{{Name: app, Plane: lab.Builtin}},
		NATS: fmt.Sprintf("hub: %s\nservers: [%s]\nreplicas: 3", c.KeysDir, strings.Join(c.URLs, ", ")),
	})
	publish(t, l, bundle(t, "1.0.0", "hello", false))
	begin(t, l, app, "1.0.0", "healthy: 200ms\ndeadline: 2m\nwaves:\n- regions: [eu-west, us-east, ap-south]\n")
	ended(t, t.Context(), l, app, rollout.StatusDone)

	for victim := range c.URLs {
		version := fmt.Sprintf("1.%d.0", victim+1)
		publish(t, l, bundle(t, version, "hello "+version, false))
		begin(t, l, app, version, "healthy: 200ms\ndeadline: 2m\nmax_unreachable: 0\nwaves:\n- {regions: [eu-west], bake: 1s}\n- regions: [us-east]\n- regions: [ap-south]\n")
		if _, err := l.WaitApp(t.Context(), app, "the first wave to be purged", func(v controller.AppView) bool {
			return !region(t, v, "eu-west").Times.Barrier.IsZero()
		}); err != nil {
			t.Fatal(err)
		}
		c.Stop(victim)
		v := ended(t, t.Context(), l, app, rollout.StatusDone)
		c.Start(victim)
		for _, s := range v.Summary.Regions {
			if s.Running != wire.Version(version) || s.Counts.Confirmed != s.Counts.Total || s.Purge == nil || s.Purge.Verified.IsZero() {
				t.Errorf("without n%d: region %s runs %s, %d of %d agents confirmed, purge %+v", victim+1, s.Region, s.Running, s.Counts.Confirmed, s.Counts.Total, s.Purge)
			}
		}
	}
}
