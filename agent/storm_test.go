package agent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/bustest"
)

// storm is a bus that keeps when agents come to it.
type storm struct {
	mu      sync.Mutex // guards all below
	began   time.Time
	arrived map[string][]time.Duration       // what came → when, since the beginning
	reports map[wire.AgentID][]time.Duration // whose → when
}

func (s *storm) came(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived[what] = append(s.arrived[what], time.Since(s.began))
}

// peak is the most that came within one second.
func (s *storm) peak(what string) (most int, at time.Duration) {
	times := slices.Sorted(slices.Values(s.arrived[what]))
	first := 0
	for i, t := range times {
		for t-times[first] >= time.Second {
			first++
		}
		if n := i - first + 1; n > most {
			most, at = n, times[first]
		}
	}
	return most, at
}

// guest is an agent's place on the bus.
type guest struct{ *storm }

func (g guest) Notes(_ wire.Region, f func([]byte)) (func(), error) {
	g.came("connections")
	f(nil)
	return func() {}, nil
}

func (g guest) Beacons(func([]byte)) (func(), error) { return func() {}, nil }

func (g guest) Want(context.Context, wire.Region) ([]byte, error) {
	g.came("requests for orders")
	return nil, wire.ErrNotFound
}

func (g guest) Blob(context.Context, wire.Digest) ([]byte, error) { return nil, wire.ErrNotFound }

func (g guest) Report(_ context.Context, _ wire.Region, id wire.AgentID, _ []byte) error {
	g.came("reports")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports[id] = append(g.reports[id], time.Since(g.began))
	return nil
}

func (g guest) Close() {}

// TestStorm starts 10,000 agents in one instant, and twenty seconds later has all of them
// report in one instant, as an order for the whole fleet does. Everything by which an
// agent comes to the bus is the real thing, on a clock that only the test moves; the apps
// are left out, and with them what they report on their own account. The other half of
// the promise, that a controller takes so much, is TestStorm of package controller.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 agents take too long for -short")
	}
	f := newFleet(t)
	cfg := Config{
		Region: testRegion, State: "/state", Root: f.path("root.json"), Key: f.path("agent.key"), Control: string(make([]byte, maxSocket+1)),
		NATS: NATS{Servers: []string{"nats://unused"}, Creds: "unused"}, Apps: map[wire.App]dataplane.Config{testApp: {}},
	}
	trust, err := cfg.readTrust()
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		s := &storm{began: time.Now(), arrived: make(map[string][]time.Duration), reports: make(map[wire.AgentID][]time.Duration)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all []*Agent
		var g errgroup.Group
		for i := range bustest.Fleet {
			a := &Agent{cfg: cfg, trust: trust, key: f.node, incarnation: 1}
			a.cfg.ID = wire.AgentID(fmt.Sprintf("n%d", i))
			check(t, a.cfg.validate())
			a.orders, a.reports = newOrders(a), newReporter(a)
			a.cfg.Bus = guest{s}
			all = append(all, a)
			g.Go(func() error { return a.Run(ctx) })
		}
		sleep(ctx, 20*time.Second)
		told := time.Since(s.began)
		for _, a := range all {
			a.reports.changed()
		}
		check(t, g.Wait())
		end := time.Since(s.began)

		// Every agent reports once when it is told to, and else once in a half to a whole
		// heartbeat, and a pause.
		for _, a := range all {
			beat := a.cfg.Heartbeat.Std()
			last, answers := time.Duration(0), 0
			for i, at := range s.reports[a.cfg.ID] {
				gap := at - last
				if last = at; at >= told && at < told+time.Second {
					answers++
				} else if i > 0 && gap < beat/2 {
					t.Fatalf("%s reports at %v, %v after the time before", a.cfg.ID, at, gap)
				}
				if gap > beat+reportPause {
					t.Fatalf("%s reports at %v, not before %v after the time before", a.cfg.ID, at, gap)
				}
			}
			if answers != 1 || end-last > beat+reportPause {
				t.Fatalf("%s reports %d times when it is told to, want once, and the last time at %v of %v", a.cfg.ID, answers, last, end)
			}
		}

		// The instant in which all are told to report is not of the agents' choosing. What
		// follows is.
		s.arrived["reports"] = slices.DeleteFunc(s.arrived["reports"], func(at time.Duration) bool { return at >= told && at < told+time.Second })
		for what, limit := range map[string]int{
			"connections": bustest.Newcomers, "requests for orders": bustest.Newcomers, "reports": bustest.ReportsRate,
		} {
			n, at := s.peak(what)
			t.Logf("%d %s, at most %d within a second, from %v on", len(s.arrived[what]), what, n, at.Round(time.Millisecond))
			if n > limit {
				t.Errorf("%d %s within a second, from %v on: at most %d are allowed", n, what, at, limit)
			}
		}
		if n := len(s.arrived["connections"]); n != bustest.Fleet {
			t.Errorf("%d agents have connected", n)
		}
	})
}
