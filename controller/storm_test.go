package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/bustest"
)

// flood is a bus whose reports come when the test says so, all that there are at once.
type flood struct {
	wire.ControllerBus
	reports chan []sealed
	took    chan [2]time.Duration // how long it took to take them, and of how much processor
}

// sealed is a report as it comes from the bus.
type sealed struct {
	region   wire.Region
	agent    wire.AgentID
	envelope []byte
}

func (b flood) Reports(ctx context.Context, f func(wire.Region, wire.AgentID, []byte, time.Time)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case all := <-b.reports:
			began, spent := time.Now(), processor()
			for _, s := range all {
				f(s.region, s.agent, s.envelope, time.Now())
			}
			b.took <- [2]time.Duration{time.Since(began), processor() - spent}
		}
	}
}

// processor returns the time that this process has had of all processors.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStorm has 10,000 agents in 20 regions report in the middle of a rollout, all at once:
// first to a controller that has heard of none of them, then with nothing new, then all
// with progress. Each report is verified, taken in and given to the engine, and what that
// decides is written down. What counts is processor time, since other tests run beside.
// TestStorm of package agent holds that such a fleet never sends as many a second. The bus
// between the two is left out.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 agents take too long for -short")
	}
	regions := make(map[wire.Region][]wire.AgentID)
	for i := range 20 {
		regions[wire.Region(fmt.Sprintf("r%d", i))] = nil
	}
	f := newFleet(t, spec{regions: regions})
	bus := flood{reports: make(chan []sealed), took: make(chan [2]time.Duration)}
	f.spec.config = func(c *controller.Config) {
		bus.ControllerBus = c.Bus
		c.Bus, c.Log, c.Tick = bus, slog.New(slog.DiscardHandler), 0
	}
	d := f.launch("main", f.dir)
	d.leads()
	keys := make(map[wire.AgentID]wire.PrivateKey)
	for _, r := range wire.Keys(regions) {
		for i := range bustest.Fleet / len(regions) {
			id := wire.AgentID(fmt.Sprintf("%s-%d", r, i))
			regions[r], keys[id] = append(regions[r], id), newKey(t)
			_, err := d.Enroll(t.Context(), controller.EnrollRequest{Region: r, Agent: id, Key: keys[id].Public()}, "op")
			must(t, err)
		}
	}
	info := f.publish(d, site(edge, "1", "a", "b"))
	p := plan(wire.Keys(regions))
	p.Deadline = wire.Duration(time.Hour)
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p}, "op")
	must(t, err)

	flood := func(sequence uint64, state wire.State) time.Duration {
		var all []sealed
		for i := range bustest.Fleet / len(regions) {
			for _, r := range wire.Keys(regions) {
				id := regions[r][i]
				report := wire.Report{Fleet: f.trust.Fleet(), Region: r, Agent: id, Incarnation: 1, Sequence: sequence, At: time.Now().UTC(),
					Build: "storm", Apps: map[wire.App]wire.AppReport{edge: {Plane: "stand-in/1", Next: &wire.Progress{Epoch: 1, Digest: info.Digest, Version: "1", State: state}}}}
				payload, err := report.Encode()
				must(t, err)
				envelope, err := wire.Seal(wire.TypeReport, payload, keys[id])
				must(t, err)
				all = append(all, sealed{r, id, envelope})
			}
		}
		bus.reports <- all
		took := <-bus.took
		t.Logf("%d reports %d: %v, %v of a processor", len(all), sequence, took[0].Round(time.Millisecond), took[1].Round(time.Millisecond))
		return took[1]
	}
	first := flood(1, wire.StateStaging) / bustest.Fleet
	next := flood(2, wire.StateStaging) / bustest.Fleet
	busy := bustest.Newcomers*first + (bustest.ReportsRate-bustest.Newcomers)*next
	t.Logf("the worst second of the fleet takes %v of a processor", busy.Round(time.Millisecond))
	if busy > time.Second {
		t.Errorf("the worst second of the fleet takes %v of a processor", busy)
	}
	// Everybody's progress in one instant has to be known before anybody is taken for silent.
	if took := flood(3, wire.StateStaged); took > 15*time.Second {
		t.Errorf("the progress of the whole fleet takes %v of a processor", took)
	}
	v, err := d.App(t.Context(), edge)
	must(t, err)
	if n := v.Summary.Rollout; n.Status != rollout.StatusRunning {
		t.Errorf("the rollout is %s: %v", n.Status, v.Explain)
	}
}
