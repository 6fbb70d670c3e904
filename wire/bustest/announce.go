package bustest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	region = wire.Region("eu-west")
	agent  = wire.AgentID("node-1")
)

// next returns the next announcement.
func next(t *testing.T, from <-chan []byte) []byte {
	t.Helper()
	select {
	case b := <-from:
		return b
	case <-time.After(patience):
		t.Fatal("no announcement")
		return nil
	}
}

// nextNil skips announcements up to the next nil.
func nextNil(t *testing.T, from <-chan []byte) {
	t.Helper()
	for next(t, from) != nil {
	}
}

// nextWhole skips nils, which may come at any time, up to the next announcement.
func nextWhole(t *testing.T, from <-chan []byte) string {
	t.Helper()
	for {
		if b := next(t, from); b != nil {
			return string(b)
		}
	}
}

// notes starts to listen and waits for the nil of the connection.
func notes(t *testing.T, a wire.AgentBus, r wire.Region) <-chan []byte {
	t.Helper()
	from := make(chan []byte, 1024)
	stop, err := a.Notes(r, func(b []byte) { from <- b })
	must(t, err)
	t.Cleanup(stop)
	nextNil(t, from)
	return from
}

func testWant(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	_, err := a.Want(background(t), region)
	wantErr(t, "want of an agent before there is any", err, wire.ErrNotFound)
	_, err = c.Want(background(t), region)
	wantErr(t, "want of a controller before there is any", err, wire.ErrNotFound)
	for _, envelope := range []string{"one", "two"} {
		must(t, c.PutWant(background(t), fence, region, []byte(envelope)))
		got, err := c.Want(background(t), region)
		must(t, err)
		if string(got) != envelope {
			t.Errorf("the leader reads %q after it wrote %q", got, envelope)
		}
		eventually(t, func() error {
			got, err := a.Want(background(t), region)
			if err != nil || string(got) != envelope {
				return fmt.Errorf("the agent reads %q, %v after %q was written", got, err, envelope)
			}
			return nil
		})
	}
}

func testNotes(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	mine, other := f.Agent(t, region, agent), f.Agent(t, "us-east", "node-2")
	from, fromOther := notes(t, mine, region), notes(t, other, "us-east")
	must(t, c.PutWant(background(t), fence, region, []byte("for eu")))
	if got := nextWhole(t, from); got != "for eu" {
		t.Errorf("announced %q, want %q", got, "for eu")
	}
	must(t, c.PutWant(background(t), fence, "us-east", []byte("for us")))
	if got := nextWhole(t, fromOther); got != "for us" {
		t.Errorf("the other region hears %q", got)
	}
}

// A reader that blocks must not grow the bus; it hears a nil once it reads again.
func testSlowReader(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	entered, release := make(chan struct{}), make(chan struct{})
	from, first := make(chan []byte, 1024), true
	stop, err := a.Notes(region, func(b []byte) {
		if b != nil && first {
			first = false
			close(entered)
			<-release
		}
		from <- b
	})
	must(t, err)
	defer stop()
	nextNil(t, from)
	must(t, c.PutWant(background(t), fence, region, []byte("first")))
	<-entered
	const burst = 200
	for i := range burst {
		must(t, c.PutWant(background(t), fence, region, fmt.Appendf(nil, "burst %d", i)))
	}
	// The beacon follows the burst on the same connection.
	heard := make(chan struct{}, 64)
	stopBeacons, err := a.Beacons(func(b []byte) {
		if b != nil {
			heard <- struct{}{}
		}
	})
	must(t, err)
	defer stopBeacons()
	must(t, c.Beacon([]byte("beacon")))
	select {
	case <-heard:
	case <-time.After(patience):
		t.Fatal("a blocked reader of notes blocks beacons")
	}
	close(release)
	if got := nextWhole(t, from); got != "first" {
		t.Errorf("announced %q, want %q", got, "first")
	}
	seen := 0
	for b := next(t, from); b != nil; b = next(t, from) {
		seen++
	}
	if seen > burst/2 {
		t.Errorf("%d of %d announcements were kept for a reader that does not read", seen, burst)
	}
}

func testReconnection(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	from := notes(t, a, region)
	must(t, c.PutWant(background(t), fence, region, []byte("before")))
	if got := nextWhole(t, from); got != "before" {
		t.Fatalf("announced %q", got)
	}
	f.Down(t)
	f.Up(t)
	nextNil(t, from)
	eventually(t, func() error {
		got, err := a.Want(background(t), region)
		if err != nil || string(got) != "before" {
			return fmt.Errorf("after the reconnection the agent reads %q, %v", got, err)
		}
		return nil
	})
	must(t, c.PutWant(background(t), fence, region, []byte("after")))
	if got := nextWhole(t, from); got != "after" {
		t.Fatalf("announced %q after the reconnection", got)
	}
}

// An agent without a connection is told so at once, and may start without one.
func testDisconnected(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	must(t, c.PutWant(background(t), fence, region, []byte("want")))
	old := f.Agent(t, region, agent)
	from := notes(t, old, region)
	f.Down(t)
	eventually(t, func() error {
		if _, err := old.Want(background(t), region); !errors.Is(err, wire.ErrDisconnected) {
			return fmt.Errorf("want without a connection: %v", err)
		}
		return nil
	})
	late := f.Agent(t, region, "node-2")
	fromLate := make(chan []byte, 1024)
	stop, err := late.Notes(region, func(b []byte) { fromLate <- b })
	must(t, err)
	defer stop()
	begun := time.Now()
	for _, a := range []wire.AgentBus{old, late} {
		_, err := a.Want(background(t), region)
		wantErr(t, "want", err, wire.ErrDisconnected)
		_, err = a.Blob(background(t), wire.DigestOf([]byte("blob")))
		wantErr(t, "blob", err, wire.ErrDisconnected)
		wantErr(t, "report", a.Report(background(t), region, agent, []byte("report")), wire.ErrDisconnected)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("six refusals took %v, want them at once", took)
	}
	f.Up(t)
	nextNil(t, from)
	nextNil(t, fromLate)
	for _, a := range []wire.AgentBus{old, late} {
		eventually(t, func() error {
			_, err := a.Want(background(t), region)
			return err
		})
	}
}

func testBeacon(t *testing.T, f Fixture) {
	c, _ := leader(t, f)
	a := f.Agent(t, region, agent)
	from := make(chan []byte, 16)
	stop, err := a.Beacons(func(b []byte) { from <- b })
	must(t, err)
	nextNil(t, from)
	must(t, c.Beacon([]byte("beacon")))
	if got := nextWhole(t, from); got != "beacon" {
		t.Errorf("heard %q", got)
	}
	stop()
	must(t, c.Beacon([]byte("unheard")))
	select {
	case got := <-from:
		if got != nil {
			t.Errorf("heard %q after stop", got)
		}
	default:
	}
}
