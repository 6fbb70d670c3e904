package bustest

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

func testLease(t *testing.T, f Fixture) {
	one, two := f.Controller(t, "one"), f.Controller(t, "two")
	must(t, one.Setup(background(t), 1))
	must(t, two.Setup(background(t), 1)) // again: idempotent
	holder, seen, err := two.Lease(background(t))
	must(t, err)
	if holder != "" || seen != 0 {
		t.Errorf("lease before anybody took it: %q, %d", holder, seen)
	}
	first, err := one.TakeLease(background(t), "one", 0)
	must(t, err)
	_, err = two.TakeLease(background(t), "two", 0)
	wantErr(t, "taking a lease that has moved on", err, wire.ErrNoLease)
	holder, seen, err = two.Lease(background(t))
	must(t, err)
	if holder != "one" || seen != first || first == 0 {
		t.Errorf("lease: %q, %d, want %q, %d", holder, seen, "one", first)
	}
	second, err := two.TakeLease(background(t), "two", seen)
	must(t, err)
	if second <= first {
		t.Errorf("fence %d follows %d, want it to rise", second, first)
	}

	// Of many that saw the same lease one gets it.
	var wait sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		wait.Go(func() {
			c, name := one, fmt.Sprintf("racer-%d", i)
			if i%2 == 0 {
				c = two
			}
			if _, err := c.TakeLease(background(t), name, second); err == nil {
				won <- name
			}
		})
	}
	wait.Wait()
	if len(won) != 1 {
		t.Fatalf("%d controllers won the same lease", len(won))
	}
	winner := <-won
	if holder, _, err := one.Lease(background(t)); err != nil || holder != winner {
		t.Errorf("lease: %q, %v, want %q", holder, err, winner)
	}
}

func testFence(t *testing.T, f Fixture) {
	old, fence := leader(t, f)
	must(t, old.PutWant(background(t), fence, region, []byte("old")))
	must(t, old.PutJournal(background(t), fence, "edge-proxy", []byte("old")))
	c := f.Controller(t, "next")
	fenceNext, err := c.TakeLease(background(t), "next", fence)
	must(t, err)
	for what, write := range map[string]func(wire.Fence) error{
		"put want":       func(f wire.Fence) error { return old.PutWant(background(t), f, region, []byte("stale")) },
		"put new want":   func(f wire.Fence) error { return old.PutWant(background(t), f, "us-east", []byte("stale")) },
		"put journal":    func(f wire.Fence) error { return old.PutJournal(background(t), f, "edge-proxy", []byte("stale")) },
		"delete journal": func(f wire.Fence) error { return old.DeleteJournal(background(t), f, "edge-proxy") },
	} {
		for _, f := range []wire.Fence{0, fence, fenceNext + 1} {
			wantErr(t, fmt.Sprintf("%s under fence %d of %d", what, f, fenceNext), write(f), wire.ErrFenced)
		}
	}
	got, err := c.Want(background(t), region)
	must(t, err)
	if string(got) != "old" {
		t.Errorf("a fenced write left %q", got)
	}
	journal, err := c.Journal(background(t))
	must(t, err)
	if diff := cmp.Diff(map[string][]byte{"edge-proxy": []byte("old")}, journal); diff != "" {
		t.Errorf("journal after fenced writes (-want +got):\n%s", diff)
	}
	// Writes at the same time under the valid fence all pass.
	var wait sync.WaitGroup
	for i := range 32 {
		wait.Go(func() {
			if err := c.PutWant(background(t), fenceNext, wire.Region(fmt.Sprintf("region-%d", i)), []byte("new")); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func testJournal(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	journal, err := c.Journal(background(t))
	must(t, err)
	if len(journal) != 0 {
		t.Errorf("an empty bus has the journal %v", journal)
	}
	want := map[string][]byte{}
	for i := range 20 {
		key, record := fmt.Sprintf("app-%d.rollout", i), fmt.Appendf(nil, "record %d", i)
		must(t, c.PutJournal(background(t), fence, key, []byte("first")))
		must(t, c.PutJournal(background(t), fence, key, record))
		want[key] = record
	}
	for range 2 { // deleting again is no error
		must(t, c.DeleteJournal(background(t), fence, "app-7.rollout"))
	}
	delete(want, "app-7.rollout")
	journal, err = c.Journal(background(t))
	must(t, err)
	if diff := cmp.Diff(want, journal); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	must(t, c.PutJournal(background(t), fence, "app-7.rollout", []byte("again")))
	want["app-7.rollout"] = []byte("again")
	journal, err = c.Journal(background(t))
	must(t, err)
	if diff := cmp.Diff(want, journal); diff != "" {
		t.Errorf("journal after a key came back (-want +got):\n%s", diff)
	}
}

func testHeartbeat(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	standby := f.Controller(t, "standby")
	type beat struct {
		Holder string
		Fence  wire.Fence
	}
	beats := make(chan beat, 16)
	stop, err := standby.Heartbeats(func(holder string, f wire.Fence) { beats <- beat{holder, f} })
	must(t, err)
	must(t, c.Heartbeat("leader", fence))
	select {
	case got := <-beats:
		if diff := cmp.Diff(beat{"leader", fence}, got); diff != "" {
			t.Errorf("heartbeat (-want +got):\n%s", diff)
		}
	case <-time.After(patience):
		t.Fatal("no heartbeat")
	}
	stop()
}

// A standby reads what is new, not everything again.
func testJournalSince(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	must(t, c.PutJournal(background(t), fence, "app.a", []byte("a1")))
	must(t, c.PutJournal(background(t), fence, "app.b", []byte("b1")))
	must(t, c.PutJournal(background(t), fence, "app.c", []byte("c1")))
	must(t, c.DeleteJournal(background(t), fence, "app.c"))
	next := uint64(0)
	reads := func(what string, want map[string]string) {
		t.Helper()
		records, then, err := c.JournalSince(background(t), next)
		must(t, err)
		got := make(map[string]string)
		for key, v := range records {
			got[key] = string(v)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v is read, want %v", what, got, want)
		}
		if then < next {
			t.Errorf("%s: after %d comes %d", what, next, then)
		}
		next = then
	}
	reads("at first", map[string]string{"app.a": "a1", "app.b": "b1"})
	reads("with nothing new", map[string]string{})
	must(t, c.PutWant(background(t), fence, region, []byte("want")))
	reads("with nothing new in the journal", map[string]string{})
	must(t, c.PutJournal(background(t), fence, "app.b", []byte("b2")))
	must(t, c.PutJournal(background(t), fence, "app.b", []byte("b3")))
	must(t, c.DeleteJournal(background(t), fence, "app.a"))
	reads("with something new", map[string]string{"app.b": "b3"})
}

// What was begun over one connection is not stored over the next.
func testLinked(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	link := c.Linked()
	if link.Err() != nil {
		t.Fatal("there is no connection")
	}
	f.Down(t)
	select {
	case <-link.Done():
	case <-time.After(patience):
		t.Fatal("the connection does not end with the bus")
	}
	if c.Linked().Err() == nil {
		t.Error("there is a connection without a bus")
	}
	if c.PutWant(link, fence, region, []byte("want")) == nil {
		t.Error("a write was stored without a connection")
	}
	f.Up(t)
	eventually(t, func() error { return c.Linked().Err() })
	if link.Err() == nil {
		t.Error("a connection that has ended is there again")
	}
	if c.PutWant(link, fence, region, []byte("want")) == nil {
		t.Error("a write was stored after its connection")
	}
	_, err := c.Want(background(t), region)
	wantErr(t, "what was never stored", err, wire.ErrNotFound)
}
