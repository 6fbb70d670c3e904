// Package bustest is the conformance suite of the bus: what package wire promises of
// [wire.AgentBus] and [wire.ControllerBus], asked of an implementation.
package bustest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Fixture is one empty bus and the means to break it.
type Fixture struct {
	// Agent connects an agent.
	Agent func(t *testing.T, r wire.Region, a wire.AgentID) wire.AgentBus
	// Controller connects a controller.
	Controller func(t *testing.T, name string) wire.ControllerBus
	// Down takes the bus away from everybody, Up gives it back with all it stored.
	Down, Up func(t *testing.T)
}

// Run runs the suite; fixture is called once per test.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f Fixture)
	}{
		{"want", testWant},
		{"notes", testNotes},
		{"notes to a slow reader", testSlowReader},
		{"note after reconnection", testReconnection},
		{"disconnected", testDisconnected},
		{"linked", testLinked},
		{"beacon", testBeacon},
		{"blobs", testBlobs},
		{"many blobs at once", testManyBlobs},
		{"reports", testReports},
		{"reports resume", testReportsResume},
		{"lease", testLease},
		{"fence", testFence},
		{"journal", testJournal},
		{"journal since", testJournalSince},
		{"heartbeat", testHeartbeat},
		{"limits", testLimits},
		{"hostile names", testHostileNames},
		{"close", testClose},
		{"context", testContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fixture(t)) })
	}
}

// patience bounds every wait: a cluster may have to elect a leader meanwhile.
const patience = 30 * time.Second

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// eventually repeats check until it returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// leader returns a controller that has made the streams and holds the lease.
func leader(t *testing.T, f Fixture) (wire.ControllerBus, wire.Fence) {
	t.Helper()
	c := f.Controller(t, "leader")
	must(t, c.Setup(background(t), 1))
	fence, err := c.TakeLease(background(t), "leader", 0)
	must(t, err)
	return c, fence
}
