package agent

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/membus"
)

// withMemory makes f order through a bus in memory, on which reports can be read.
func (f *fleet) withMemory() (*membus.Bus, wire.AgentBus) {
	f.t.Helper()
	b, err := membus.New(membus.Config{})
	check(f.t, err)
	f.t.Cleanup(b.Close)
	c := b.Controller("c")
	check(f.t, c.Setup(f.t.Context(), 1))
	fence, err := c.TakeLease(f.t.Context(), "c", 0)
	check(f.t, err)
	f.put = func(d wire.Digest, data []byte) { check(f.t, c.PutBlob(f.t.Context(), d, data)) }
	f.want = func(envelope []byte) { check(f.t, c.PutWant(f.t.Context(), fence, testRegion, envelope)) }
	f.reconnect = func() wire.AgentBus { return b.Agent(testAgent) }
	return b, f.reconnect()
}

// get asks the data plane on a fresh connection.
func get(t *testing.T, listen, path string) (body, release string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get("http://" + listen + path)
	if err != nil {
		return "error: " + err.Error(), ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	check(t, err)
	return string(b), res.Header.Get("X-Ebbgate-Release")
}

func runs(a *Agent, e wire.Epoch, state ...wire.State) func() bool {
	return func() bool {
		r := a.apps[0].report().Running
		if r == nil || r.Epoch != e || r.Error != "" {
			return false
		}
		for _, s := range state {
			if r.State == s {
				return true
			}
		}
		return len(state) == 0
	}
}

func TestStageActivateCommit(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, _ := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)

	o := activate(nil, v1)
	o.Next.Phase, o.Next.Cohort = wire.PhaseStage, wire.Cohort{}
	f.order(o)
	eventually(t, "staged", func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateStaged
	})
	if r := a.apps[0].report().Running; r != nil {
		t.Fatalf("staging activated: %+v", r)
	}
	f.order(activate(nil, v1))
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))
	if body, _ := get(t, f.listen, "/"); body != "one" {
		t.Fatalf("serves %q", body)
	}
	f.order(wire.Order{Base: &v1})
	eventually(t, "committed", runs(a, 1, wire.StateCommitted))
	if lkg := a.apps[0].report().LKG; lkg != v1.Digest {
		t.Fatalf("LKG is %s", lkg.Short())
	}

	v2 := at(f.publish(site("2", "two")), 2)
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	// A rollback is a higher epoch with older content; its mtimes grow all the same.
	before := mtime(t, a, v1)
	back := at(v1, 3)
	f.order(activate(&v1, back))
	eventually(t, "back", runs(a, 3, wire.StateConfirmed))
	body, release := get(t, f.listen, "/")
	if body != "one" || !strings.HasSuffix(release, "@3") {
		t.Fatalf("serves %q as %q", body, release)
	}
	if now := mtime(t, a, v1); !now.After(before) || now.Equal(mtime(t, a, v2)) {
		t.Fatalf("stamps: %s then %s, and %s of the other", before, now, mtime(t, a, v2))
	}
}

func mtime(t *testing.T, a *Agent, target wire.Target) time.Time {
	t.Helper()
	fi, err := os.Stat(a.apps[0].rel.Path(target.Digest) + "/site/index.html")
	check(t, err)
	return fi.ModTime()
}

func TestBadReleaseIsTakenBack(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))

	c := site("2", "two")
	c.probes = []wire.Probe{{Path: "/absent", Status: 200}}
	v2 := at(f.publish(c), 2)
	f.order(activate(&v1, v2))
	reverted := func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateReverted && n.Epoch == 2
	}
	eventually(t, "reverted", reverted)
	eventually(t, "the old one", runs(a, 1, wire.StateConfirmed, wire.StateCommitted))
	if n := a.apps[0].report().Next; !strings.Contains(n.Error, "/absent") {
		t.Fatalf("reason is %q", n.Error)
	}
	if body, _ := get(t, f.listen, "/"); body != "one" {
		t.Fatalf("serves %q", body)
	}
	// The mark outlives the process, and the same epoch is never tried again.
	stop()
	points := make(chan string, 1000)
	cfg := f.config(f.reconnect())
	cfg.trace = func(p string) { points <- p }
	a, _ = run(t, cfg)
	eventually(t, "the reason after a restart", reverted)
	f.order(activate(&v1, v2))
	eventually(t, "the order seen", func() bool { return a.report(0).Desired == f.sequence })
	eventually(t, "a report", func() bool { return seen(points, "report stored") })
	if seen(points, "after journal switching") {
		t.Fatal("a bundle marked bad was tried again at its epoch")
	}
	// A new epoch may try again.
	v3 := at(v2, 3)
	f.order(activate(&v1, v3))
	eventually(t, "another attempt", func() bool { return seen(points, "after journal switching") })
}

func seen(points chan string, want string) bool {
	for {
		select {
		case p := <-points:
			if p == want {
				return true
			}
		default:
			return false
		}
	}
}

func TestRefusals(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, _ := run(t, f.config(bus))
	v2c := site("2", "two")
	v2c.floor = "2"
	v2 := at(f.publish(v2c), 5)
	first := f.order(activate(nil, v2))
	eventually(t, "confirmed", runs(a, 5, wire.StateConfirmed))
	refused := func(reason string) func() bool {
		return func() bool { return a.report(0).Refused[reason] > 0 }
	}
	failed := func(e wire.Epoch, text string) func() bool {
		return func() bool {
			n := a.apps[0].report().Next
			return n != nil && n.Epoch == e && n.State == wire.StateFailed && strings.Contains(n.Error, text)
		}
	}
	// Below the floor, whoever orders it.
	f.order(activate(&v2, at(f.publish(site("1", "one")), 6)))
	eventually(t, "floor", failed(6, "floor"))
	// An older order.
	f.want(first)
	eventually(t, "replay", refused("replay"))
	// Garbage, and an order by somebody else.
	f.want([]byte("{"))
	eventually(t, "invalid", refused("invalid"))
	mallory := *f
	mallory.control = newKey(t)
	mallory.order(activate(&v2, at(v2, 9)))
	eventually(t, "signature", refused("signature"))
	// A bundle that no author signed.
	evil := site("3", "three")
	evil.author = &mallory.control
	f.order(activate(&v2, at(f.publish(evil), 10)))
	eventually(t, "author", failed(10, "signature"))
	// The bundle of another app.
	other := site("4", "four")
	other.app = "waf"
	f.order(activate(&v2, at(f.publish(other), 11)))
	eventually(t, "app", failed(11, "app"))
	// An epoch that changes its mind.
	f.order(activate(nil, at(f.publish(site("5", "five")), 5)))
	eventually(t, "same epoch", func() bool { return strings.Contains(strings.Join(a.apps[0].plan(), ";"), "already named") })
	if body, _ := get(t, f.listen, "/"); body != "two" {
		t.Fatalf("serves %q", body)
	}
	if !runs(a, 5)() {
		t.Fatal("does not run epoch 5 any more")
	}
}

func TestColdStartWithoutNetwork(t *testing.T) {
	f := newFleet(t)
	b, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))
	v2 := at(f.publish(site("2", "two")), 2)
	f.order(activate(&v1, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	stop()
	b.Down()
	cfg := f.config(f.reconnect())
	_, stop = run(t, cfg)
	eventually(t, "served from disk", func() bool { body, _ := get(t, f.listen, "/"); return body == "two" })

	// A rollback on the node needs no network, and holds against the order it left.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	check(t, AskRollback(ctx, cfg.Socket(), testApp))
	if body, _ := get(t, f.listen, "/"); body != "one" {
		t.Fatalf("serves %q", body)
	}
	stop()
	a, _ = run(t, f.config(f.reconnect()))
	eventually(t, "still rolled back", func() bool { body, _ := get(t, f.listen, "/"); return body == "one" })
	b.Up()
	eventually(t, "reported", func() bool { return runs(a, 1)() })
	s, err := AskStatus(ctx, cfg.Socket())
	check(t, err)
	if p := strings.Join(s.Plan[testApp], "; "); !strings.Contains(p, "rolled back on the node") {
		t.Fatalf("plan is %q", p)
	}
	// A newer epoch ends it.
	f.order(activate(&v2, at(v2, 3)))
	eventually(t, "moved on", runs(a, 3, wire.StateConfirmed))
	if err := AskRollback(ctx, cfg.Socket(), "nope"); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Fatalf("rollback of an unknown app: %v", err)
	}
}

// A start that fails, for a port that is taken say, has run nothing that could crash.
func TestAFailedStartIsNoCrash(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	f.order(activate(nil, at(f.publish(site("1", "one")), 1)))
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))
	stop()
	ln, err := net.Listen("tcp", f.listen)
	check(t, err)
	if a, err := New(f.config(f.reconnect())); err == nil {
		a.Close()
		t.Fatal("it starts on a port that is taken")
	}
	check(t, ln.Close())
	a, _ = run(t, f.config(f.reconnect()))
	eventually(t, "confirmed again", runs(a, 1, wire.StateConfirmed))
	if n := a.apps[0].report().Running.Crashes; n != 0 {
		t.Errorf("%d crashes are counted", n)
	}
}

func TestReportsSurviveALostConnection(t *testing.T) {
	f := newFleet(t)
	b, bus := f.withMemory()
	reports := make(chan *wire.Report, 1000)
	go b.Controller("reader").Reports(t.Context(), func(_ wire.Region, _ wire.AgentID, envelope []byte, _ time.Time) {
		trust := readTestTrust(t, f)
		if r, err := trust.OpenReport(envelope, testAgent, f.node.Public()); err == nil {
			reports <- r
		}
	})
	cfg := f.config(bus)
	a, _ := run(t, cfg)
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "staged or better", func() bool { return a.apps[0].report().Next != nil || a.apps[0].report().Running != nil })
	b.DisconnectAgent(testAgent)
	eventually(t, "confirmed", func() bool { return runs(a, 1)() || a.apps[0].report().Next != nil })
	b.ReconnectAgent(testAgent)
	eventually(t, "the newest state to arrive", func() bool {
		select {
		case r := <-reports:
			run := r.Apps[testApp].Running
			return run != nil && run.Epoch == 1 && run.State == wire.StateConfirmed
		default:
			return false
		}
	})
}

func readTestTrust(t *testing.T, f *fleet) *wire.Trust {
	data, err := os.ReadFile(f.path("root.json"))
	check(t, err)
	trust, err := wire.NewTrust(data)
	check(t, err)
	return trust
}
