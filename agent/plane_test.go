package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

// moody is the builtin data plane with bad days.
type moody struct {
	dataplane.Driver
	mu     sync.Mutex       // guards the rest
	call   map[string]error // call, or call and version → error
	done   []string
	asleep bool // it says that it has switched, and serves what it served
}

func (m *moody) sleep(asleep bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asleep = asleep
}

func (m *moody) sleeps() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asleep
}

func (m *moody) mood(call string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.call[call] = err
}

func (m *moody) on(call string, r dataplane.Release) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = append(m.done, call+" "+string(r.Version))
	return errors.Join(m.call[call], m.call[call+" "+string(r.Version)])
}

func (m *moody) did(what string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.done {
		if d == what {
			n++
		}
	}
	return n
}

func (m *moody) Validate(ctx context.Context, r dataplane.Release) error {
	return errors.Join(m.on("validate", r), m.Driver.Validate(ctx, r))
}

func (m *moody) Arm(ctx context.Context, r dataplane.Release) error {
	return errors.Join(m.on("arm", r), m.Driver.Arm(ctx, r))
}

func (m *moody) Activate(ctx context.Context, r dataplane.Release) error {
	if err := m.on("activate", r); err != nil {
		return err
	}
	if m.sleeps() {
		return nil
	}
	return m.Driver.Activate(ctx, r)
}

func (m *moody) Confirm(ctx context.Context, r dataplane.Release) (string, error) {
	if m.sleeps() { // waiting longer would show nothing else
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
	}
	return m.Driver.Confirm(ctx, r)
}

func (m *moody) Check(ctx context.Context, r dataplane.Release) error {
	return errors.Join(m.on("check", r), m.Driver.Check(ctx, r))
}

// withMoody runs an agent whose data plane has moods.
func withMoody(t *testing.T, cfg Config) (*Agent, *moody, chan error) {
	t.Helper()
	a, err := New(cfg)
	check(t, err)
	m := &moody{Driver: a.apps[0].plane, call: make(map[string]error)}
	a.apps[0].plane = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); done <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; a.Close() })
	return a, m, done
}

// runningOne runs an agent, with moods, that has confirmed v1; v2 is published.
func runningOne(t *testing.T) (f *fleet, a *Agent, m *moody, v1, v2 wire.Target) {
	t.Helper()
	f = newFleet(t)
	_, bus := f.withMemory()
	a, m, _ = withMoody(t, f.config(bus))
	v1, v2 = at(f.publish(site("1", "one")), 1), at(f.publish(site("2", "two")), 2)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	return f, a, m, v1, v2
}

func TestTheRunningReleaseFallsSick(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, m, _ := withMoody(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))
	m.mood("check", errors.New("probe /: answered 500"))
	before := m.did("check 1")
	eventually(t, "the reason in the report", func() bool {
		r := a.apps[0].report().Running
		return r != nil && strings.Contains(r.Error, "answered 500")
	})
	if n := m.did("check 1") - before; n < tolerated {
		t.Errorf("sick after %d bad looks, want %d", n, tolerated)
	}
	// Not last known good while it is sick, however long it soaks.
	f.order(wire.Order{Base: &v1})
	eventually(t, "a plan that says so", func() bool { return strings.Contains(strings.Join(a.apps[0].plan(), ""), "not committed") })
	m.mood("check", nil)
	eventually(t, "committed", runs(a, 1, wire.StateCommitted))
}

func TestDriftIsRepaired(t *testing.T) {
	f, a, m, v1, v2 := runningOne(t)
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	// Somebody makes the data plane serve the old release behind the agent's back.
	check(t, m.Driver.Activate(t.Context(), dataplane.Release{App: testApp, Region: testRegion, Epoch: 1, Digest: v1.Digest, Version: "1", Dir: a.apps[0].rel.Path(v1.Digest)}))
	eventually(t, "two again", func() bool { body, _ := get(t, f.listen, "/"); return body == "two" })
}

// A data plane that says it has switched is believed only when it shows the release.
func TestADataPlaneThatDoesNotSwitch(t *testing.T) {
	f, a, m, v1, v2 := runningOne(t)
	m.sleep(true)
	f.order(activate(&v1, v2))
	eventually(t, "the activation to end", func() bool {
		r := a.apps[0].report()
		return r.Next != nil && r.Next.State == wire.StateReverted || r.Running.Epoch == 2 && r.Running.State == wire.StateConfirmed
	})
	if n := a.apps[0].report().Next; n == nil || !strings.Contains(n.Error, "serves") {
		t.Fatalf("a release that never showed is not taken back for that: %+v", n)
	}
	eventually(t, "back to one", runs(a, 1, wire.StateConfirmed, wire.StateCommitted))

	// It serves another release than it did, and a repair changes nothing either.
	m.sleep(false)
	v3 := at(v2, 3)
	f.order(activate(&v1, v3))
	eventually(t, "two", runs(a, 3, wire.StateConfirmed))
	m.sleep(true)
	repairs := m.did("activate 2")
	check(t, m.Driver.Activate(t.Context(), dataplane.Release{App: testApp, Region: testRegion, Epoch: 1, Digest: v1.Digest, Version: "1", Dir: a.apps[0].rel.Path(v1.Digest)}))
	eventually(t, "the failed repair in the report", func() bool {
		r := a.apps[0].report().Running
		return r != nil && strings.Contains(r.Error, "serves")
	})
	if m.did("activate 2") == repairs {
		t.Error("no repair was tried")
	}
	m.sleep(false)
	eventually(t, "two again", func() bool {
		body, _ := get(t, f.listen, "/")
		return body == "two" && runs(a, 3)()
	})
}

func TestDamageIsRepairedFromTheStagedChunks(t *testing.T) {
	f := newFleet(t)
	b, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	f.order(wire.Order{Base: &v1})
	eventually(t, "committed", runs(a, 1, wire.StateCommitted))
	page := filepath.Join(a.apps[0].rel.Path(v1.Digest), "site", "index.html")
	stop()
	check(t, os.WriteFile(page, []byte("evil"), 0o644))
	b.Down()
	run(t, f.config(f.reconnect()))
	eventually(t, "one, from what is staged", func() bool { body, _ := get(t, f.listen, "/"); return body == "one" })
	if data, err := os.ReadFile(page); err != nil || string(data) != "one" {
		t.Fatalf("%q, %v", data, err)
	}
}

// A release that has been damaged since it served is no way back, whoever wants one.
func TestDamageIsNoWayBack(t *testing.T) {
	for _, tc := range []struct {
		name    string
		damaged []int // of the releases 1 to 3, which run one after the other
		leave   func(f *fleet, restart func())
		want    wire.Epoch
	}{
		{"a rollback on the node", []int{2}, func(f *fleet, _ func()) {
			cfg := f.config(nil)
			check(f.t, AskRollback(f.t.Context(), cfg.Socket(), testApp))
		}, 1},
		{"a change that fails", []int{3}, func(f *fleet, _ func()) {
			f.order(activate(nil, at(f.publish(bad(site("4", "four"))), 4)))
		}, 2},
		{"what runs is damaged, too", []int{2, 3}, func(_ *fleet, restart func()) { restart() }, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFleet(t)
			_, bus := f.withMemory()
			a, stop := run(t, f.config(bus))
			pages := []string{"one", "two", "three"}
			var releases []wire.Target
			for i, page := range pages {
				v := at(f.publish(site(fmt.Sprint(i+1), page)), wire.Epoch(i+1))
				f.order(activate(nil, v))
				eventually(t, page, runs(a, v.Epoch, wire.StateConfirmed))
				if v.Epoch < 3 {
					f.order(wire.Order{Base: &v})
					eventually(t, page+" last known good", runs(a, v.Epoch, wire.StateCommitted))
				}
				releases = append(releases, v)
			}
			f.order(wire.Order{})
			eventually(t, "the order seen", func() bool { return a.report(0).Desired == f.sequence })
			for _, n := range tc.damaged {
				page := filepath.Join(a.apps[0].rel.Path(releases[n-1].Digest), "site", "index.html")
				check(t, os.WriteFile(page, []byte(strings.Repeat("x", len(pages[n-1]))), 0o644))
			}
			tc.leave(f, func() {
				stop()
				a, _ = run(t, f.config(f.reconnect()))
			})
			eventually(t, "the way back", func() bool {
				r := a.apps[0].report()
				return r.Running != nil && r.Running.Epoch < 3 && (r.Next == nil || r.Next.State == wire.StateReverted)
			})
			if body, release := get(t, f.listen, "/"); body != pages[tc.want-1] || !strings.HasSuffix(release, fmt.Sprintf("@%d", tc.want)) {
				t.Errorf("serves %q as %q, want %q", body, release, pages[tc.want-1])
			}
		})
	}
}

func TestInvalidForThisNode(t *testing.T) {
	f, a, m, v1, v2 := runningOne(t)
	m.mood("validate", errors.New("nginx -t: unknown directive \"foo\""))
	f.order(activate(&v1, v2))
	eventually(t, "the validator's words in the report", func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateFailed && strings.Contains(n.Error, "unknown directive")
	})
	if m.did("activate 2") > 0 {
		t.Fatal("an invalid release was activated")
	}
}

// What passes by itself, and has changed nothing, is not held against the bundle.
func TestWhatPassesAtTheSwitchIsTriedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		call string
		err  error
	}{
		"a provider that is silent":         {"arm", wire.ErrDisconnected},
		"a validation that takes too long":  {"arm", context.DeadlineExceeded},
		"a disk without room":               {"arm", release.ErrFull},
		"a provider that is silent by then": {"activate", wire.ErrDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			f, a, m, v1, v2 := runningOne(t)
			m.mood(tc.call, fmt.Errorf("asking: %w", tc.err))
			f.order(activate(&v1, v2))
			eventually(t, "another attempt", func() bool { return m.did(tc.call+" 2") >= 2 })
			eventually(t, "the reason in the report", func() bool {
				n := a.apps[0].report().Next
				return n != nil && n.Epoch == 2 && strings.Contains(n.Error, "cannot activate web 2: asking: "+tc.err.Error())
			})
			if r := a.apps[0].report(); len(r.Bad) > 0 || r.Next.State == wire.StateReverted {
				t.Errorf("held against the bundle: %+v", r)
			}
			if body, _ := get(t, f.listen, "/"); body != "one" || !runs(a, 1, wire.StateConfirmed)() {
				t.Errorf("serves %q", body)
			}
			cur, err := os.Readlink(f.path("state", "apps", string(testApp), "current"))
			check(t, err)
			if filepath.Base(cur) != v1.Digest.String() {
				t.Errorf("current names %s", cur)
			}
			m.mood(tc.call, nil)
			eventually(t, "two", runs(a, 2, wire.StateConfirmed))
			if body, _ := get(t, f.listen, "/"); body != "two" {
				t.Errorf("serves %q", body)
			}
		})
	}
}

func TestADiskThatDoesNotConfirmIsFatal(t *testing.T) {
	for name, tc := range map[string]struct {
		call string // which the disk does not confirm
		do   func(f *fleet, m *moody, v1 wire.Target)
	}{
		"validation": {"validate 2", func(f *fleet, _ *moody, v1 wire.Target) {
			f.order(activate(&v1, at(f.publish(site("2", "two")), 2)))
		}},
		"activation": {"activate 2", func(f *fleet, _ *moody, v1 wire.Target) {
			f.order(activate(&v1, at(f.publish(site("2", "two")), 2)))
		}},
		"return": {"activate 1", func(f *fleet, _ *moody, v1 wire.Target) {
			f.order(activate(&v1, at(f.publish(bad(site("2", "two"))), 2)))
		}},
		"rollback": {"activate 1", func(f *fleet, m *moody, v1 wire.Target) {
			f.order(activate(&v1, at(f.publish(site("2", "two")), 2)))
			eventually(f.t, "two", func() bool { body, _ := get(f.t, f.listen, "/"); return body == "two" })
			cfg := f.config(nil)
			if err := AskRollback(f.t.Context(), cfg.Socket(), testApp); err == nil {
				f.t.Error("the rollback is done")
			}
		}},
		"repair": {"activate 1", func(f *fleet, m *moody, v1 wire.Target) {
			check(f.t, m.Driver.Activate(f.t.Context(), dataplane.Release{App: testApp, Region: testRegion, Epoch: 9, Digest: v1.Digest, Version: "1",
				Dir: f.path("state", "apps", string(testApp), "releases", v1.Digest.String())}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			_, bus := f.withMemory()
			a, m, done := withMoody(t, f.config(bus))
			v1 := at(f.publish(site("1", "one")), 1)
			f.order(activate(nil, v1))
			eventually(t, "one", runs(a, 1, wire.StateConfirmed))
			m.mood(tc.call, fmt.Errorf("writing: %w", release.ErrSync))
			tc.do(f, m, v1)
			select {
			case err := <-done:
				if !errors.Is(err, release.ErrSync) {
					t.Fatalf("Run returned %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the agent goes on")
			}
		})
	}
}

// TestFullDiskKeepsServing stages onto a file system that cannot hold the bundle.
func TestFullDiskKeepsServing(t *testing.T) {
	f := newFleet(t)
	check(t, os.Mkdir(f.path("state"), 0o755))
	if err := syscall.Mount("tmpfs", f.path("state"), "tmpfs", 0, "size=20m"); err != nil {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatalf("cannot mount a small file system: %v", err)
		}
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(f.path("state"), 0) })
	_, bus := f.withMemory()
	a, _ := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	big := site("2", "two")
	big.files["big"] = strings.Repeat("0123456789abcdef", 1<<18)
	f.order(activate(&v1, at(f.publish(big), 2)))
	eventually(t, "the reason in the report", func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateFailed && strings.Contains(n.Error, release.ErrFull.Error())
	})
	if body, _ := get(t, f.listen, "/"); body != "one" {
		t.Fatalf("serves %q", body)
	}
	v3 := at(f.publish(site("3", "three")), 3)
	f.order(activate(&v1, v3))
	eventually(t, "what fits", runs(a, 3, wire.StateConfirmed))
}
