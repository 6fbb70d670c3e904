package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// bin is where the two programs under test are.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "ebbgate-bin-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "build", "-o", bin+"/", "../", "../../ebbgate-agent")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const app wire.App = "edge-proxy"

// start brings a fleet up that ends with the test; its logs are shown if the test fails.
func start(t *testing.T, cfg lab.Config) *lab.Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("a whole fleet takes too long for -short")
	}
	if err := lab.Depends("../../../agent", "../../../cdn", "../../../controller", "../../../wire", "../../../cmd"); err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.Ebbgate, cfg.Agent = t.TempDir(), filepath.Join(bin, "ebbgate"), filepath.Join(bin, "ebbgate-agent")
	l, err := lab.Start(t.Context(), cfg)
	t.Cleanup(func() {
		if l == nil {
			return
		}
		l.Close()
		if t.Failed() {
			if err := l.Logs(t.Output()); err != nil {
				t.Log(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// publish signs and publishes a bundle's source and returns nothing but success.
func publish(t *testing.T, l *lab.Lab, dir string) {
	t.Helper()
	if _, err := l.Run(t.Context(), "publish", dir, "--key", l.Key()); err != nil {
		t.Fatal(err)
	}
}

// begin starts a rollout under a plan.
func begin(t *testing.T, l *lab.Lab, app wire.App, version, plan string, flags ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"rollout", "start", string(app), version, "-f", path}, flags...)
	if _, err := l.Run(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the app's rollout is over as wanted.
func ended(t *testing.T, ctx context.Context, l *lab.Lab, app wire.App, want rollout.RolloutStatus) controller.AppView {
	t.Helper()
	v, err := l.WaitApp(ctx, app, "the rollout to end", func(v controller.AppView) bool {
		return v.Rollout != nil && v.Rollout.Status.Ended()
	})
	if err != nil {
		t.Fatalf("%v: %v", err, v.Explain)
	}
	if v.Rollout.Status != want {
		t.Fatalf("the rollout ended as %s, want %s: %v", v.Rollout.Status, want, v.Explain)
	}
	return v
}

// region returns a region's line of the summary.
func region(t *testing.T, v controller.AppView, r wire.Region) rollout.RegionSummary {
	t.Helper()
	for _, w := range v.Summary.Rollout.Waves {
		for _, s := range w.Regions {
			if s.Region == r {
				return s
			}
		}
	}
	t.Fatalf("region %s is not in the rollout", r)
	return rollout.RegionSummary{}
}

// bundle writes the source of version v of the edge-proxy bundle.
func bundle(t *testing.T, version, greeting string, broken bool) string {
	t.Helper()
	dir := t.TempDir()
	if err := lab.Bundle(dir, version, greeting, "deny /admin", broken); err != nil {
		t.Fatal(err)
	}
	return dir
}
