package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// takeoverTime is within what a standby leads after the leader has fallen silent.
const takeoverTime = 15 * time.Second

// twoWaves is a plan whose second region follows the first one's purge.
const twoWaves = "healthy: 200ms\ndeadline: 1m\nwaves:\n- regions: [eu-west]\n- regions: [us-east]\n"

// pair brings up two controllers on the one server and a committed fleet that runs 1.0.0.
// The second controller stands by.
func pair(t *testing.T, n *natsServer, first string) *lab.Lab {
	t.Helper()
	l := start(t, lab.Config{
		Regions: []wire.Region{"eu-west", "us-east"}, Agents: 2,
		Apps: []lab.App{{Name: app, Plane: lab.Builtin}},
		NATS: n.section(first), Standby: n.section(n.url),
	})
	roll(t, l, "1.0.0")
	standsBy(t, l.Controllers[1])
	return l
}

// roll rolls a version out to the end and checks what every region came to.
func roll(t *testing.T, l *lab.Lab, version string) {
	t.Helper()
	publish(t, l, bundle(t, version, "hello "+version, false))
	begin(t, l, app, version, twoWaves)
	rolled(t, l, version)
}

// rolled waits for the end of the rollout of version and checks what every region came to.
func rolled(t *testing.T, l *lab.Lab, version string) {
	t.Helper()
	v := ended(t, t.Context(), l, app, rollout.StatusDone)
	if string(v.Rollout.Target.Version) != version {
		t.Fatalf("the rollout that has ended is of %s, want %s", v.Rollout.Target.Version, version)
	}
	for _, s := range v.Summary.Regions {
		if string(s.Running) != version || s.Counts.Confirmed != s.Counts.Total || s.Purge == nil || s.Purge.Verified.IsZero() {
			t.Errorf("region %s runs %s, %d of %d agents confirmed, purge %+v", s.Region, s.Running, s.Counts.Confirmed, s.Counts.Total, s.Purge)
		}
	}
	if eu, us := region(t, v, "eu-west"), region(t, v, "us-east"); us.Times.Activated.Before(eu.Times.Barrier) {
		t.Errorf("us-east was activated at %s, before the barrier of eu-west at %s", us.Times.Activated, eu.Times.Barrier)
	}
}

// standsBy waits until a controller says that it stands by for another one.
func standsBy(t *testing.T, c *lab.Controller) {
	t.Helper()
	eventually(t, "a controller to stand by", func() error {
		said, err := c.Said()
		if err != nil {
			return err
		}
		if c.Exited() {
			return errors.New("it has ended")
		}
		if last := said[strings.LastIndex(said, "api listening"):]; !strings.Contains(last, "standing by") {
			return errors.New("it does not stand by")
		}
		return nil
	})
}

// takesOver waits until the standby leads, has it take the commands, and holds it to the
// time since the leader fell silent.
func takesOver(t *testing.T, l *lab.Lab, silent time.Time) {
	t.Helper()
	if err := l.Turn(t.Context(), l.Controllers[1]); err != nil {
		t.Fatal(err)
	}
	took := time.Since(silent)
	t.Logf("the standby led after %s", took.Round(time.Millisecond))
	if took > takeoverTime {
		t.Errorf("the standby led after %s, want at most %s", took, takeoverTime)
	}
}

// activating waits until the rollout of version has activated its first wave.
func activating(t *testing.T, l *lab.Lab, version string) {
	t.Helper()
	if _, err := l.WaitApp(t.Context(), app, "an activation", decided(version, rollout.KindActivate)); err != nil {
		t.Fatal(err)
	}
}

// purges counts what the stand-ins have purged, by region.
func purges(l *lab.Lab) map[wire.Region]int {
	n := make(map[wire.Region]int)
	for _, r := range []wire.Region{"eu-west", "us-east"} {
		n[r] = len(l.StandIns.Purges(r))
	}
	return n
}

// The leader is killed in the middle of a rollout; the standby leads soon and finishes it.
func TestTakeover(t *testing.T) {
	n := startNATS(t)
	l := pair(t, n, n.url)
	before := purges(l)
	publish(t, l, bundle(t, "1.1.0", "hello 1.1.0", false))
	begin(t, l, app, "1.1.0", twoWaves)
	activating(t, l, "1.1.0")
	l.Controllers[0].Kill()
	takesOver(t, l, time.Now())
	rolled(t, l, "1.1.0")
	for r, n := range purges(l) {
		if n <= before[r] {
			t.Errorf("region %s was not purged for 1.1.0", r)
		}
	}
	past, err := l.History(t.Context(), app)
	if err != nil || len(past) != 2 {
		t.Errorf("the successor knows %d rollouts, %v, want 2", len(past), err)
	}
	// The old leader comes back to stand by.
	if err := l.Controllers[0].Start(); err != nil {
		t.Fatal(err)
	}
	standsBy(t, l.Controllers[0])
	refuses(t, l, l.Controllers[0], l.Controllers[1])
	roll(t, l, "1.2.0")
}

// refuses checks what an operator hears who asks a standby.
func refuses(t *testing.T, l *lab.Lab, standby, leader *lab.Controller) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	leads := fmt.Sprintf("this controller stands by, %s (%s) leads\n", host, strings.TrimPrefix(leader.URL(), "http://"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rollout", "undo", string(app), "--yes"}, "ebbgate: cannot undo edge-proxy: " + leads},
		{[]string{"rollout", "get", string(app)}, "ebbgate: cannot show edge-proxy: " + leads},
	} {
		cmd := l.Command(t.Context(), c.args...)
		cmd.Env = append(cmd.Env, "EBBGATE_SERVER="+standby.URL())
		out, err := cmd.CombinedOutput()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != 1 || string(out) != c.want {
			t.Errorf("%v at a standby ended with %v and %q, want exit code 1 and %q", c.args, err, out, c.want)
		}
	}
}
