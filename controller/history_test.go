package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Of an app's past rollouts the newest are kept, here and on the bus.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	ctx := t.Context()
	f.publish(d, site(edge, "1", "a", "b"))
	const extra = 5
	var started []string
	for range controller.KeptHistory + 1 + extra {
		v, err := d.Start(ctx, controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
		must(t, err)
		started = append(started, v.Rollout.ID)
		_, err = d.Command(ctx, edge, "abort", rollout.Of{}, "op")
		must(t, err)
	}
	slices.Reverse(started)
	check := func(d *driver) {
		t.Helper()
		past, err := d.History(ctx, edge)
		must(t, err)
		var got []string
		for _, r := range past {
			got = append(got, r.ID)
		}
		if want := started[:controller.KeptHistory+1]; !slices.Equal(got, want) {
			t.Errorf("history has %d rollouts from %s, want %d from %s", len(got), got[0], len(want), want[0])
		}
		eventually(t, func() error {
			journal, err := f.bus.Controller("reader").Journal(ctx)
			must(t, err)
			n := 0
			for key := range journal {
				if strings.HasPrefix(key, controller.HistoryKey(edge, "")) {
					n++
				}
			}
			if n != controller.KeptHistory {
				return fmt.Errorf("the bus keeps %d past rollouts, want %d", n, controller.KeptHistory)
			}
			// The number alone is right for a moment before the newest have arrived.
			for _, id := range started[1 : controller.KeptHistory+1] {
				if len(journal[controller.HistoryKey(edge, id)]) == 0 {
					return fmt.Errorf("the bus does not have rollout %s", id)
				}
			}
			return nil
		})
	}
	check(d)

	// A record that the bus brings back after its deletion goes again.
	d = f.bounce(d, f.dir, func() {
		raw := f.bus.Controller("saboteur")
		_, fence, err := raw.Lease(ctx)
		must(t, err)
		journal, err := raw.Journal(ctx)
		must(t, err)
		oldest := started[len(started)-1]
		must(t, raw.PutJournal(context.Background(), fence, controller.HistoryKey(edge, oldest), journal[controller.HistoryKey(edge, started[1])]))
	})
	check(d)
}

// The loop decides while somebody reads a long history: it only hands out what there is.
func TestHistoryIsReadAside(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	ctx := t.Context()
	f.publish(d, site(edge, "1", "a", "b"))
	v, err := d.Start(ctx, controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	d.settles()
	past := *v.Rollout
	past.Plan.Waves = nil
	for i := range 100 {
		past.Plan.Waves = append(past.Plan.Waves, rollout.Wave{
			Regions: []wire.Region{wire.Region(fmt.Sprintf("r%d", i))}, Strategy: rollout.StrategyCanary,
			Steps: slices.Repeat([]rollout.PlanStep{{Activate: rollout.Share(50)}}, 10),
		})
	}
	d = f.bounce(d, f.dir, func() {
		raw := f.bus.Controller("saboteur")
		_, fence, err := raw.Lease(ctx)
		must(t, err)
		for i := range controller.KeptHistory {
			past.ID = fmt.Sprintf("2020%04d", i)
			data, err := wire.EncodeJSON(past)
			must(t, err)
			r, err := controller.EncodeRecord(1, 1, string(data))
			must(t, err)
			must(t, raw.PutJournal(ctx, fence, controller.HistoryKey(edge, past.ID), r))
		}
	})

	read, began := make(chan struct{}), time.Now()
	go func() {
		defer close(read)
		all, err := d.History(context.Background(), edge)
		if err != nil || len(all) != controller.KeptHistory+1 || all[1].ID != past.ID {
			t.Errorf("history has %d rollouts, %v, want %d", len(all), err, controller.KeptHistory+1)
		}
	}()
	var longest time.Duration
	for reading := true; reading; {
		at := time.Now()
		_, err := d.App(ctx, edge)
		must(t, err)
		longest = max(longest, time.Since(at))
		select {
		case <-read:
			reading = false
		default:
		}
	}
	if took := time.Since(began); longest > took/2 {
		t.Errorf("the loop was busy for %s of the %s that it took to read the history", longest, took)
	}
}

// When a region commits, the purges of its earlier epochs are forgotten, and no others.
func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: {"f1"}}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}, []wire.Region{fra}), "done")
	for i := range 3 {
		v := wire.Version(fmt.Sprint(2 + i))
		f.roll(d, f.publish(d, site(edge, v, "a"+string(v), "b")), plan([]wire.Region{ams}), "done")
	}
	eventually(t, func() error {
		entries, err := d.Purges(t.Context(), "", edge)
		must(t, err)
		epochs := make(map[string]int)
		for _, e := range entries {
			epochs[fmt.Sprintf("%s %d", e.Item.Region, e.Item.Epoch)]++
		}
		if len(epochs) != 2 || epochs["ams 4"] != 2 || epochs["fra 1"] != 4 {
			return fmt.Errorf("the outbox holds %v", epochs)
		}
		return nil
	})
}

// What operators have purged by hand is forgotten once it is much.
func TestRunsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	var selectors []string
	for i := range 300 {
		selectors = append(selectors, fmt.Sprintf("key:k%d", i))
	}
	const most = 1000 + 2*300
	for range 5 {
		views, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: ams, Selectors: selectors}, "op")
		must(t, err)
		eventually(t, func() error {
			all, err := d.Purges(t.Context(), ams, "")
			must(t, err)
			if len(all) > most {
				t.Fatalf("the outbox holds %d items, want at most %d", len(all), most)
			}
			for _, e := range all {
				if e.Open() {
					return fmt.Errorf("%s is %s", e.Item.Selector, e.State)
				}
			}
			return nil
		})
		if len(views) != 600 {
			t.Fatalf("%d items, want every selector twice", len(views))
		}
	}
	for _, bad := range []controller.PurgeRequest{
		{Region: ams}, {Region: ams, Selectors: make([]string, 1001)}, {Region: ams, Selectors: []string{"nonsense"}}, {Region: ams, Selectors: []string{"host:www.example.com"}},
	} {
		_, err := d.RunPurge(t.Context(), bad, "op")
		wantErr(t, fmt.Sprint(bad.Selectors), err, controller.ErrInvalid)
	}
}

// What an optional target never answers takes no room from other purges by hand.
func TestRunsAtOptionalMakeRoom(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one(), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{tier{name: "fast", tape: &tape{}}, tier{name: "gone", down: true}}
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
			{Provider: "fast", Scope: "s"}, {Provider: "gone", Scope: "s", Optional: true},
		}}}
	}})
	d := f.drive()
	selectors := make([]string, 1000)
	for i := range selectors {
		selectors[i] = fmt.Sprintf("key:k%d", i)
	}
	for range 6 {
		views, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: ams, Selectors: selectors}, "op")
		must(t, err)
		eventually(t, func() error {
			all, err := d.Purges(t.Context(), ams, "")
			must(t, err)
			for _, e := range all {
				if e.Open() && e.Item.Provider == "fast" {
					return fmt.Errorf("%s is %s", e.Item.Selector, e.State)
				}
			}
			return nil
		})
		if len(views) != 4000 {
			t.Fatalf("%d items, want every selector twice at both", len(views))
		}
	}
}

// One purge by hand that is more than all may be is refused for what it is, and one that only an
// optional target cannot take is not.
func TestRunsAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one(), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{cdnOf("keys", cdn.Key), cdnOf("urls", cdn.URL), cdnOf("both", cdn.Key, cdn.URL)}
		var many []controller.CDNTarget
		for i := range 6 {
			many = append(many, controller.CDNTarget{Provider: "keys", Scope: fmt.Sprint("s", i)})
		}
		c.Regions = map[wire.Region]controller.RegionConfig{
			ams: {CDN: many},
			fra: {CDN: []controller.CDNTarget{{Provider: "both", Scope: "s"}, {Provider: "urls", Scope: "s", Optional: true}}},
		}
	}})
	d := f.drive()
	selectors := make([]string, 1000)
	for i := range selectors {
		selectors[i] = fmt.Sprintf("key:k%d", i)
	}
	_, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: ams, Selectors: selectors}, "op")
	wantErr(t, "too many items", err, controller.ErrInvalid)
	if want := "selectors: 1000 at 6 targets are 12000 items, at most 10000 may be asked for at once"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("refused with %q, want %q", err, want)
	}
	views, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: fra, Selectors: []string{"key:a"}}, "op")
	must(t, err)
	for _, v := range views {
		if v.Item.Provider != "both" {
			t.Errorf("%s is asked for %s", v.Item.Provider, v.Item.Selector)
		}
	}
	_, err = d.RunPurge(t.Context(), controller.PurgeRequest{Region: fra, Selectors: []string{"host:www.example.com"}}, "op")
	wantErr(t, "what nobody can purge", err, controller.ErrInvalid)
}

// cdnOf is a provider that takes selectors of some kinds.
func cdnOf(name string, kinds ...cdn.Kind) cdn.Purger {
	caps := cdn.Capabilities{Kinds: make(map[cdn.Kind]cdn.Limits)}
	for _, k := range kinds {
		caps.Kinds[k] = cdn.Limits{Batch: 10}
	}
	return able{tier{name: name, tape: &tape{}}, caps}
}

// able is a tier with capabilities of its own.
type able struct {
	tier
	caps cdn.Capabilities
}

func (p able) Capabilities() cdn.Capabilities { return p.caps }

// Purges by hand that a provider does not take fill their own part of the outbox, and neither
// stop nor hold up a rollout.
func TestRunsLeaveRoomForRollouts(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: {"f1"}}, config: func(c *controller.Config) {
		c.Purgers = append(c.Purgers, tier{name: "gone", down: true})
		c.Regions[fra] = controller.RegionConfig{CDN: []controller.CDNTarget{{Provider: "gone", Scope: "s"}}}
	}})
	d := f.drive()
	selectors := make([]string, 1000)
	for i := range selectors {
		selectors[i] = fmt.Sprintf("key:k%d", i)
	}
	for range 5 {
		_, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: fra, Selectors: selectors}, "op")
		must(t, err)
	}
	_, err := d.RunPurge(t.Context(), controller.PurgeRequest{Region: fra, Selectors: selectors[:1]}, "op")
	wantErr(t, "the outbox's part for purges by hand is full", err, controller.ErrConflict)
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
}
