package membus_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/bustest"
	"github.com/ebbgate/ebbgate/wire/membus"
)

func newBus(t *testing.T, cfg membus.Config) *membus.Bus {
	t.Helper()
	b, err := membus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestConformance(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		b := newBus(t, membus.Config{})
		return bustest.Fixture{
			Agent:      func(t *testing.T, _ wire.Region, a wire.AgentID) wire.AgentBus { return b.Agent(a) },
			Controller: func(t *testing.T, name string) wire.ControllerBus { return b.Controller(name) },
			Down:       func(*testing.T) { b.Down() },
			Up:         func(*testing.T) { b.Up() },
		}
	})
}

// hear returns what an agent hears of 100 orders, one a second, under faults.
func hear(t *testing.T, seed uint64) (heard []string, failed int) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, membus.Config{Seed: seed, Drop: 0.2, Duplicate: 0.2, Delay: 0.3, MaxDelay: 3 * time.Second, LoseAck: 0.2})
		c, a := b.Controller("c"), b.Agent("node-1")
		f, err := c.TakeLease(t.Context(), "c", 0)
		for err != nil { // the answer may be lost
			_, seen, leaseErr := c.Lease(t.Context())
			if leaseErr != nil {
				t.Fatal(leaseErr)
			}
			f, err = c.TakeLease(t.Context(), "c", seen)
		}
		stop, err := a.Notes("eu", func(b []byte) { heard = append(heard, string(b)) })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the nil of the connection, which may come before or after the first order
		for i := range 100 {
			if err := c.PutWant(t.Context(), f, "eu", fmt.Appendf(nil, "%d", i)); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
	})
	return heard, failed
}

func TestFaultsFollowTheSeed(t *testing.T) {
	first, failed := hear(t, 1)
	again, _ := hear(t, 1)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed differs (-first +again):\n%s", diff)
	}
	if other, _ := hear(t, 2); cmp.Equal(first, other) {
		t.Error("another seed makes no difference")
	}
	count, overtaken := map[string]int{}, 0
	for i, s := range first[1:] {
		count[s]++
		if i > 0 && len(s) >= len(first[i]) && s < first[i] {
			overtaken++
		}
	}
	doubled := 0
	for _, n := range count {
		if n > 1 {
			doubled++
		}
	}
	if lost := 100 - len(count); lost == 0 || lost > 50 || doubled == 0 || overtaken == 0 || failed == 0 || failed > 50 {
		t.Errorf("of 100 orders %d were lost, %d doubled, %d overtaken, %d unanswered", lost, doubled, overtaken, failed)
	}
}

func TestDisconnectAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, membus.Config{})
		c, one, two := b.Controller("c"), b.Agent("node-1"), b.Agent("node-2")
		f, err := c.TakeLease(t.Context(), "c", 0)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards heard
		heard := map[string][]string{}
		for name, a := range map[string]wire.AgentBus{"one": one, "two": two} {
			if _, err := a.Notes("eu", func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				heard[name] = append(heard[name], string(b))
			}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put := func(s string) {
			t.Helper()
			if err := c.PutWant(t.Context(), f, "eu", []byte(s)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		b.DisconnectAgent("node-1")
		put("first")
		b.ReconnectAgent("node-1")
		synctest.Wait()
		put("second")
		b.Down()
		b.Up()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := map[string][]string{"one": {"", "", "second", ""}, "two": {"", "first", "second", ""}}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, cfg := range []membus.Config{{Drop: 1.1}, {Duplicate: -1}, {Delay: 0.5}, {LoseAck: 2}, {MaxDelay: -1}} {
		if _, err := membus.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
