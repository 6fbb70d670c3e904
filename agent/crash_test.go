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
	Files       bool   // its data plane is of kind files
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
		Apps:   map[wire.App]dataplane.Config{testApp: c.plane()},
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

// reload is a hook: it makes what the bundle's template became the page that is served.
// That it begins is a point too, the one between the data plane's files and their use.
const reload = `echo hook >>"$1/points"
if [ "$2" = hook ] && [ "$(grep -c '^hook$' "$1/points")" = "$3" ]; then kill -9 $PPID; exit 1; fi
cp "$1/state/apps/web/plane/live/page" "$1/page.new" && mv "$1/page.new" "$1/page"`

func (c child) plane() dataplane.Config {
	if !c.Files {
		return dataplane.Config{Kind: dataplane.KindBuiltin, Listen: c.Listen}
	}
	return dataplane.Config{Kind: dataplane.KindFiles, Hooks: map[string]dataplane.Hook{
		"reload": {Argv: []string{"/bin/sh", "-c", reload, "reload", c.Dir, c.Point, fmt.Sprint(c.Nth)}},
		"refuse": {Argv: []string{"/bin/false"}},
	}}
}

// start runs an agent in a process of its own.
func (f *fleet) start(c child) *exec.Cmd {
	f.t.Helper()
	c.Dir, c.Listen, c.Points, c.Files = f.dir, f.listen, f.path("points"), f.files
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
	files bool // on a data plane of kind files; else builtin
	first content
	next  content
	final wire.Epoch // what it runs in the end
	page  string
	done  func(wire.AppReport) bool
}

var crashScenes = []crashScene{
	{name: "good release", first: site("1", "one"), next: site("2", "two"), final: 2, page: "two", done: confirmed},
	{name: "bad release", first: site("1", "one"), next: bad(site("2", "two")), final: 1, page: "one", done: takenBack},
	{name: "good release of files", files: true, first: hooked("1", "one", "reload"), next: hooked("2", "two", "reload"), final: 2, page: "two 2", done: confirmed},
	{name: "bad release of files", files: true, first: hooked("1", "one", "reload"), next: hooked("2", "two", "reload", "refuse"), final: 1, page: "one 1", done: takenBack},
}

func confirmed(r wire.AppReport) bool { return r.Running.State != wire.StateActive }

func takenBack(r wire.AppReport) bool { return r.Next != nil && r.Next.State == wire.StateReverted }

// hooked returns a bundle whose template shows the page and the epoch.
func hooked(version, page string, hooks ...string) content {
	c := site(version, page)
	c.files["page"+dataplane.TemplateSuffix], c.hooks = page+" @epoch@", hooks
	return c
}

// page is what the node serves.
func (f *fleet) page() string {
	if !f.files {
		page, _ := get(f.t, f.listen, "/")
		return page
	}
	page, err := os.ReadFile(f.path("page"))
	check(f.t, err)
	return string(page)
}

func bad(c content) content {
	c.probes = []wire.Probe{{Path: "/absent", Status: 200}}
	return c
}

// prepare brings a node to where the scene begins: release 1 runs and is last known good,
// the agent has ended in order, the next release is ordered.
func (s crashScene) prepare(t *testing.T) (f *fleet, b *fileBus, v1, v2 wire.Target) {
	f = newFleet(t)
	f.files = s.files
	b = f.withFiles()
	cfg := f.config(b)
	cfg.Apps[testApp] = child{Dir: f.dir, Listen: f.listen, Files: s.files}.plane()
	a, stop := run(t, cfg)
	v1 = at(f.publish(s.first), 1)
	f.order(activate(nil, v1))
	eventually(t, "release 1", runs(a, 1, wire.StateConfirmed))
	f.order(wire.Order{Base: &v1})
	eventually(t, "release 1 last known good", runs(a, 1, wire.StateCommitted))
	stop()
	os.Remove(f.path("points")) // of hooks so far
	v2 = at(f.publish(s.next), 2)
	f.order(activate(&v1, v2))
	return f, b, v1, v2
}

// settled waits until the node has come to the scene's end.
func (s crashScene) settled(f *fleet, b *fileBus, within time.Duration) {
	f.t.Helper()
	var r *wire.Report
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the last report: %+v", r)
		}
	}()
	eventuallyWithin(f.t, within, "the scene's end", func() bool {
		if r = f.lastReport(b); r == nil {
			return false
		}
		app := r.Apps[testApp]
		return app.Running != nil && app.Running.Epoch == s.final && app.Running.Error == "" && s.done(app) && f.page() == s.page
	})
}

// end ends an agent in order.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the agent did not end in order: %v", err)
	}
}

// killedAt waits until an agent has been killed at a point, as it was told to be.
func killedAt(t *testing.T, cmd *exec.Cmd, point string) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var dead *exec.ExitError
		if !errors.As(err, &dead) || dead.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("was to be killed at %q: %v", point, err)
		}
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		<-ended
		t.Fatalf("never came to %q", point)
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
		if n := passed[p]; n == 1 || n <= 3 && slices.Contains([]string{"stamped", "symlink switched", "data plane switched", "hook", "gc"}, p) {
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
					killedAt(t, cmd, kill.Point)
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
