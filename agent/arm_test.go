package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// prepared returns an order to stage t on every node, and arm it.
func prepared(base *wire.Target, t wire.Target) wire.Order {
	o := activate(base, t)
	o.Next.Phase = wire.PhaseStage
	return o
}

// is reports whether the newest order has come to a state.
func is(a *Agent, e wire.Epoch, s wire.State) func() bool {
	return func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.Epoch == e && n.State == s
	}
}

// armedTwo is runningOne with v2 armed.
func armedTwo(t *testing.T) (f *fleet, a *Agent, m *moody, v1, v2 wire.Target) {
	t.Helper()
	f, a, m, v1, v2 = runningOne(t)
	f.order(prepared(&v1, v2))
	eventually(t, "armed", is(a, 2, wire.StateArmed))
	return f, a, m, v1, v2
}

// TestArmedThenActivated prepares a whole region and then switches it, as a blue-green
// wave does: what is preloaded is neither validated nor preloaded another time.
func TestArmedThenActivated(t *testing.T) {
	f, a, m, v1, v2 := runningOne(t)

	outside := prepared(&v1, v2)
	outside.Next.Cohort.CutOff = 0
	f.order(outside)
	eventually(t, "staged", is(a, 2, wire.StateStaged))
	if m.did("arm 2") > 0 {
		t.Fatal("armed outside the cohort")
	}
	f.order(prepared(&v1, v2))
	eventually(t, "armed", is(a, 2, wire.StateArmed))
	if body, _ := get(t, f.listen, "/"); body != "one" || m.did("activate 2") > 0 {
		t.Fatalf("arming made it serve %q", body)
	}
	validated := m.did("validate 2")
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	if arms, again := m.did("arm 2"), m.did("validate 2")-validated; arms != 1 || again != 0 {
		t.Errorf("armed %d times, validated %d times more for the switch; want 1 and 0", arms, again)
	}
	if body, release := get(t, f.listen, "/"); body != "two" || !strings.HasSuffix(release, "@2") {
		t.Errorf("serves %q as %q", body, release)
	}
}

// What a data plane answers holds the epoch: armed for one is not armed for the next.
func TestArmedForAnotherEpoch(t *testing.T) {
	f, a, m, v1, v2 := armedTwo(t)
	v3 := at(v2, 3)
	f.order(prepared(&v1, v3))
	eventually(t, "armed again", is(a, 3, wire.StateArmed))
	f.order(activate(&v1, v3))
	eventually(t, "two", runs(a, 3, wire.StateConfirmed))
	if n := m.did("arm 2"); n != 2 {
		t.Errorf("armed %d times, want once for each epoch", n)
	}
	if body, release := get(t, f.listen, "/"); body != "two" || !strings.HasSuffix(release, "@3") {
		t.Errorf("serves %q as %q", body, release)
	}
}

// TestArmedAnewAfterARestart ends the agent between arming and the switch. What was
// preloaded is gone with its process, and there is no network to ask.
func TestArmedAnewAfterARestart(t *testing.T) {
	f := newFleet(t)
	b, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	v1, v2 := at(f.publish(site("1", "one")), 1), at(f.publish(site("2", "two")), 2)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	f.order(prepared(&v1, v2))
	eventually(t, "armed", is(a, 2, wire.StateArmed))
	stop()
	b.Down()
	a, m, _ := withMoody(t, f.config(f.reconnect()))
	eventually(t, "armed", is(a, 2, wire.StateArmed))
	if m.did("validate 2") == 0 || m.did("arm 2") != 1 {
		t.Errorf("reports armed after it validated %d times and armed %d times", m.did("validate 2"), m.did("arm 2"))
	}
	b.Up()
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	if n := m.did("arm 2"); n != 1 {
		t.Errorf("armed %d times, want 1", n)
	}
}

// What keeps a release from being armed is told for as long as it lasts, and called a
// failure of the release only if it will last.
func TestNotArmed(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want wire.State
	}{
		{context.DeadlineExceeded, wire.StateStaged},
		{errors.New("no such directive"), wire.StateFailed},
	} {
		f, a, m, v1, v2 := runningOne(t)
		m.mood("arm 2", tc.err)
		f.order(prepared(&v1, v2))
		eventually(t, "the reason in the report", func() bool {
			n := a.apps[0].report().Next
			return n != nil && n.State == tc.want && strings.Contains(n.Error, "cannot arm web 2: "+tc.err.Error())
		})
		// The switch preloads by itself; after it there is nothing left to tell.
		m.mood("arm 2", nil)
		f.order(activate(&v1, v2))
		eventually(t, "two", runs(a, 2, wire.StateConfirmed))
		outside := prepared(&v2, at(v2, 3))
		outside.Next.Cohort.CutOff = 0
		f.order(outside)
		eventually(t, "staged for the next epoch, without an error", func() bool {
			n := a.apps[0].report().Next
			return n != nil && n.Epoch == 3 && n.State == wire.StateStaged && n.Error == ""
		})
	}
}

// A release that is damaged after it was armed is staged and armed again before it is
// switched to.
func TestDamagedWhileArmed(t *testing.T) {
	f, a, m, v1, v2 := armedTwo(t)
	check(t, os.WriteFile(filepath.Join(a.apps[0].rel.Path(v2.Digest), "site", "index.html"), []byte("owt"), 0o644))
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	if body, _ := get(t, f.listen, "/"); body != "two" {
		t.Errorf("serves %q", body)
	}
	if n := m.did("arm 2"); n != 2 {
		t.Errorf("armed %d times, want 2", n)
	}
}

// TestArmedWithNothingToPreload arms data planes that read their files when they are told
// to: a release they validate is armed, one they refuse is not.
func TestArmedWithNothingToPreload(t *testing.T) {
	const conf = `user root;
worker_processes 1;
events {}
http {
	access_log off;
	server { listen @listen@; include @ebbgate@; root @release@/site; }
}
`
	for _, tc := range []struct {
		kind  dataplane.Kind
		spoil func(*content)
	}{
		{dataplane.KindFiles, func(c *content) { c.probes = []wire.Probe{{Path: "/", Status: 200}} }}, // it has no URL
		{dataplane.KindNginx, func(c *content) { c.files[dataplane.NginxTemplate] = strings.Replace(conf, "root ", "rot ", 1) }},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			f := newFleet(t)
			_, bus := f.withMemory()
			cfg := f.config(bus)
			plane := dataplane.Config{Kind: tc.kind}
			if tc.kind == dataplane.KindNginx {
				servertest.Find(t, "nginx")
				plane.Listen, plane.Start = f.listen, true
			}
			cfg.Apps[testApp] = plane
			a, _ := run(t, cfg)
			with := func(version, page string) content {
				c := site(version, page)
				c.files[dataplane.NginxTemplate] = conf
				return c
			}
			v1, v2 := at(f.publish(with("1", "one")), 1), at(f.publish(with("2", "two")), 2)
			f.order(activate(nil, v1))
			eventually(t, "one", runs(a, 1, wire.StateConfirmed))
			if slices.Contains(a.apps[0].report().Traits, wire.TraitArms) {
				t.Errorf("%s declares that it preloads", tc.kind)
			}
			f.order(prepared(&v1, v2))
			eventually(t, "armed", is(a, 2, wire.StateArmed))
			if !runs(a, 1)() {
				t.Fatal("arming switched")
			}
			bad := with("3", "three")
			tc.spoil(&bad)
			v3 := at(f.publish(bad), 3)
			f.order(prepared(&v1, v3))
			eventually(t, "failed", is(a, 3, wire.StateFailed))
			v4 := at(v2, 4)
			f.order(prepared(&v1, v4))
			eventually(t, "armed", is(a, 4, wire.StateArmed))
			f.order(activate(&v1, v4))
			eventually(t, "two", runs(a, 4, wire.StateConfirmed))
			page, err := os.ReadFile(f.path("state", "apps", string(testApp), "current", "site", "index.html"))
			check(t, err)
			if tc.kind == dataplane.KindNginx {
				body, _ := get(t, f.listen, "/")
				page = []byte(body)
			}
			if string(page) != "two" {
				t.Errorf("serves %q", page)
			}
		})
	}
}
