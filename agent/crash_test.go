package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/agent/stage"
	"github.com/ebbgate/ebbgate/wire"
)

// A crash is a real one: the test binary runs itself as an agent in a process of its own,
// which kills itself with SIGKILL at a point. What the process is to do is in childEnv.
const childEnv = "EBBGATE_TEST_AGENT"

// child says what an agent in a process of its own does.
type child struct {
	Dir, Listen string
	Point       string // where it kills itself; empty: nowhere
	Nth         int    // at which passing of Point, from 1
	Points      string // file that gets each point passed
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := beAgent(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beAgent is the agent in a process of its own.
func beAgent(spec string) error {
	var c child
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	points, err := os.OpenFile(c.Points, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards passed
	passed := 0
	a, err := New(Config{
		ID: testAgent, Region: testRegion, State: filepath.Join(c.Dir, "state"),
		Root: filepath.Join(c.Dir, "root.json"), Key: filepath.Join(c.Dir, "agent.key"),
		Bus: newFileBus(filepath.Join(c.Dir, "bus")), Heartbeat: wire.Duration(200 * time.Millisecond), Probe: wire.Duration(200 * time.Millisecond),
		Apps:   map[wire.App]dataplane.Config{testApp: {Kind: dataplane.KindBuiltin, Listen: c.Listen}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		trace: func(point string) {
			fmt.Fprintln(points, point)
			mu.Lock()
			defer mu.Unlock()
			if point == c.Point {
				if passed++; passed == c.Nth {
					syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {} // until it arrives
				}
			}
		},
	})
	if err != nil {
		return err
	}
	return errors.Join(a.Run(ctx), a.Close())
}

// start runs an agent in a process of its own.
func (f *fleet) start(c child) *exec.Cmd {
	f.t.Helper()
	c.Dir, c.Listen, c.Points = f.dir, f.listen, f.path("points")
	spec, err := json.Marshal(c)
	check(f.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(spec))
	log, err := os.OpenFile(f.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	check(f.t, err)
	defer log.Close()
	cmd.Stderr = log
	check(f.t, cmd.Start())
	f.t.Cleanup(func() {
		cmd.Process.Kill() // fails when it has ended
		cmd.Wait()
		if f.t.Failed() {
			if b, err := os.ReadFile(f.path("log")); err == nil {
				f.t.Logf("log of the agents:\n%s", b)
			}
		}
	})
	return cmd
}

// crashScene is a change of a node that runs release 1.
type crashScene struct {
	name  string
	next  content
	final wire.Epoch // what it runs in the end
	page  string
	done  func(wire.AppReport) bool
}

var crashScenes = []crashScene{
	{name: "good release", next: site("2", "two"), final: 2, page: "two",
		done: func(r wire.AppReport) bool { return r.Running.State != wire.StateActive }},
	{name: "bad release", next: bad(site("2", "two")), final: 1, page: "one",
		done: func(r wire.AppReport) bool { return r.Next != nil && r.Next.State == wire.StateReverted }},
}

func bad(c content) content {
	c.probes = []wire.Probe{{Path: "/absent", Status: 200}}
	return c
}

// prepare brings a node to where the scene begins: release 1 runs and is last known good,
// the agent has ended in order, the next release is ordered.
func (s crashScene) prepare(t *testing.T) (f *fleet, b *fileBus, v1, v2 wire.Target) {
	f = newFleet(t)
	b = f.withFiles()
	a, stop := run(t, f.config(b))
	v1 = at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "release 1", runs(a, 1, wire.StateConfirmed))
	f.order(wire.Order{Base: &v1})
	eventually(t, "release 1 last known good", runs(a, 1, wire.StateCommitted))
	stop()
	v2 = at(f.publish(s.next), 2)
	f.order(activate(&v1, v2))
	return f, b, v1, v2
}

// settled waits until the node has come to the scene's end.
func (s crashScene) settled(f *fleet, b *fileBus, within time.Duration) {
	f.t.Helper()
	end := time.Now().Add(within)
	for {
		r := f.lastReport(b)
		if r != nil {
			if app := r.Apps[testApp]; app.Running != nil && app.Running.Epoch == s.final && app.Running.Error == "" && s.done(app) {
				if page, _ := get(f.t, f.listen, "/"); page == s.page {
					return
				}
			}
		}
		if time.Now().After(end) {
			f.t.Fatalf("did not settle within %s: %+v", within, r)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// end ends an agent in order.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the agent did not end in order: %v", err)
	}
}

// undamaged opens a dead agent's disk and holds every release on it against its manifest.
func (f *fleet) undamaged(v1, v2 wire.Target) {
	f.t.Helper()
	store, err := stage.Open(f.path("state", "state.db"))
	check(f.t, err)
	defer store.Close()
	cur, err := os.Readlink(f.path("state", "apps", string(testApp), "current"))
	check(f.t, err)
	if d := filepath.Base(cur); d != v1.Digest.String() && d != v2.Digest.String() {
		f.t.Fatalf("current names %s", cur)
	}
	// Before Open, which sweeps: names of releases must hold whole ones at any time.
	names, err := os.ReadDir(f.path("state", "apps", string(testApp), "releases"))
	check(f.t, err)
	var whole []wire.Digest
	for _, n := range names {
		if d, err := wire.ParseDigest(n.Name()); err == nil {
			whole = append(whole, d)
		}
	}
	rel, err := release.Open(f.path("state", "apps", string(testApp)))
	check(f.t, err)
	defer rel.Close()
	for _, d := range whole {
		m, err := store.Manifest(d)
		check(f.t, err)
		decoded, err := wire.DecodeManifest(m.Payload)
		check(f.t, err)
		check(f.t, rel.Verify(d, decoded.For(testRegion)))
	}
	if !slices.ContainsFunc(whole, func(d wire.Digest) bool { return filepath.Base(cur) == d.String() }) {
		f.t.Fatalf("current names %s, which is not on disk", cur)
	}
}

// points lists what a scene passes, in the order of the first time, with how often: what
// makes the node serve a release is passed when the agent starts, in the change and in the
// return. Reports are as many as the clock makes them.
func (f *fleet) points() (kills []child) {
	data, err := os.ReadFile(f.path("points"))
	check(f.t, err)
	passed := make(map[string]int)
	for _, p := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		passed[p]++
		if n := passed[p]; n == 1 || n <= 3 && slices.Contains([]string{"stamped", "symlink switched", "data plane switched", "gc"}, p) {
			kills = append(kills, child{Point: p, Nth: n})
		}
	}
	return kills
}

// TestKillAtEveryPoint kills an agent at every point that a change passes. The disk must
// hold whole releases at once, and after a restart the node must come to the same end as
// without the crash, within 30 s.
func TestKillAtEveryPoint(t *testing.T) {
	for _, scene := range crashScenes {
		t.Run(scene.name, func(t *testing.T) {
			f, b, v1, v2 := scene.prepare(t)
			check(t, os.Remove(f.path("bus", "report")))
			cmd := f.start(child{})
			scene.settled(f, b, 20*time.Second)
			end(t, cmd)
			f.undamaged(v1, v2)
			points := f.points()
			if len(points) < 15 {
				t.Fatalf("only %d points: %v", len(points), points)
			}
			t.Logf("%d points", len(points))
			for _, kill := range points {
				t.Run(fmt.Sprintf("%s %d", kill.Point, kill.Nth), func(t *testing.T) {
					t.Parallel()
					f, b, v1, v2 := scene.prepare(t)
					check(t, os.Remove(f.path("bus", "report")))
					cmd := f.start(kill)
					var dead *exec.ExitError
					if err := cmd.Wait(); !errors.As(err, &dead) || dead.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
						t.Fatalf("was to be killed at %q: %v", kill.Point, err)
					}
					f.undamaged(v1, v2)
					os.Remove(f.path("bus", "report")) // what the dead one said
					cmd = f.start(child{})
					scene.settled(f, b, 30*time.Second)
					end(t, cmd)
					f.undamaged(v1, v2)
				})
			}
		})
	}
}
