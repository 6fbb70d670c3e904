package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// tape writes down what several providers are asked, in order.
type tape struct {
	mu    sync.Mutex // guards calls
	calls []string
}

func (t *tape) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, fmt.Sprintf(format, args...))
}

func (t *tape) since(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.calls[n:])
}

// tier is a provider of the tape. down: it never answers.
type tier struct {
	name string
	tape *tape
	slow time.Duration
	down bool
}

func (p tier) Name() string { return p.name }
func (p tier) Capabilities() cdn.Capabilities {
	return cdn.Capabilities{Kinds: map[cdn.Kind]cdn.Limits{cdn.Key: {Batch: 10, Gap: 100 * time.Millisecond}}}
}

func (p tier) Purge(_ context.Context, r cdn.Request) (cdn.Receipt, error) {
	if p.down {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Retryable, Message: "503"}
	}
	time.Sleep(p.slow)
	ids := make(map[cdn.Selector]string)
	var keys []string
	for _, s := range r.Selectors {
		ids[s] = ""
		keys = append(keys, s.String())
	}
	slices.Sort(keys)
	p.tape.add("%s purges %s", p.name, strings.Join(keys, " "))
	return cdn.Receipt{IDs: ids, AcceptedAt: time.Now()}, nil
}

// fenced is a tier that can hold a fence, in all scopes but "bare".
type fenced struct{ tier }

func (p fenced) Fence(_ context.Context, scope, name string, epoch uint64) error {
	if scope == "bare" {
		return &cdn.Error{Provider: p.name, Class: cdn.NotFound, Err: cdn.ErrNoFence}
	}
	p.tape.add("%s fences %s below %d", p.name, name, epoch)
	return nil
}

// fickle is a tier whose token may be wrong for a time.
type fickle struct {
	tier
	wrong *atomic.Bool
	busy  *atomic.Bool // nil: never
}

func (p fickle) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if p.busy != nil && p.busy.Load() {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Retryable, RetryAfter: 50 * time.Millisecond, Message: "503"}
	}
	if p.wrong.Load() {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Auth, Message: "403 bad token"}
	}
	return p.tier.Purge(ctx, r)
}

// An optional target that refuses is left behind, which is said wherever one looks, and is asked
// for all that it refused with the next purge, also when that has nothing of its own to ask.
func TestOptionalLeftBehind(t *testing.T) {
	for _, next := range []string{"a3", "a2"} { // of a.conf: other content, the same
		t.Run(next, func(t *testing.T) {
			tp, wrong := &tape{}, &atomic.Bool{}
			f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
				c.Purgers = []cdn.Purger{tier{name: "fast", tape: tp}, fickle{tier: tier{name: "cf", tape: tp}, wrong: wrong}}
				c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
					{Provider: "fast", Scope: "s"}, {Provider: "cf", Scope: "zone", Optional: true},
				}}}
			}})
			d := f.drive()
			release := func(version wire.Version, a string) controller.BundleInfo {
				c := site(edge, version, a, "b")
				c.purge = []wire.PurgeRule{{Files: "a.conf", Selectors: []string{"key:gen-{epoch}"}}}
				return f.publish(d, c)
			}
			f.roll(d, release("1", "a"), plan([]wire.Region{ams}), "done")
			eventually(t, func() error {
				if n := strings.Count(strings.Join(tp.since(0), "\n"), "cf purges"); n < 2 {
					return fmt.Errorf("cf was asked %d times", n)
				}
				return nil
			})
			wrong.Store(true)
			f.roll(d, release("2", "a2"), plan([]wire.Region{ams}), "done")
			left := func() (barriers, explained, regions string) {
				v, err := d.App(t.Context(), edge)
				must(t, err)
				for _, b := range v.Barriers {
					if b.LeftBehind != "" {
						barriers = fmt.Sprintf("%s/%s at %s: %s", b.Provider, b.Scope, b.Epoch, b.LeftBehind)
					}
				}
				rs, err := d.Regions(t.Context())
				must(t, err)
				return barriers, v.Explain[len(v.Explain)-1], rs[0].LeftBehind["cf/zone"]
			}
			eventually(t, func() error {
				barriers, explained, regions := left()
				for _, text := range []string{barriers, explained, regions} {
					if !strings.Contains(text, "403 bad token") {
						return fmt.Errorf("told: %q", text)
					}
				}
				return nil
			})

			wrong.Store(false)
			f.roll(d, release("3", next), plan([]wire.Region{ams}), "done")
			eventually(t, func() error {
				asked := 0 // twice for the first release, twice for the third
				for _, call := range tp.since(0) {
					asked += btoi(strings.HasPrefix(call, "cf purges") && strings.Contains(call, "key:gen-1"))
				}
				barriers, explained, regions := left()
				if asked != 4 || barriers != "" || strings.Contains(explained, "left behind") || regions != "" {
					return fmt.Errorf("cf was asked %d times for what it refused; told: %q, %q, %q", asked, barriers, explained, regions)
				}
				return nil
			})
			before := len(tp.since(0))
			f.roll(d, release("4", "a4"), plan([]wire.Region{ams}), "done")
			for _, call := range tp.since(before) {
				if strings.Contains(call, "key:gen-1") {
					t.Errorf("what was made up for is asked again: %s", call)
				}
			}
		})
	}
}

// What an optional target refuses only after the next release was purged, while that waits, is
// not forgotten when that is committed.
func TestOptionalRefusesLate(t *testing.T) {
	t.Parallel()
	tp, wrong, busy := &tape{}, &atomic.Bool{}, &atomic.Bool{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{tier{name: "fast", tape: tp}, fickle{tier{name: "cf", tape: tp}, wrong, busy}}
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
			{Provider: "fast", Scope: "s"}, {Provider: "cf", Scope: "zone", Optional: true},
		}}}
	}})
	d := f.drive()
	release := func(version wire.Version) controller.BundleInfo {
		c := site(edge, version, string(version), "b")
		c.purge = []wire.PurgeRule{{Files: "a.conf", Selectors: []string{"key:gen-{epoch}"}}}
		return f.publish(d, c)
	}
	owed := func(epoch uint64, state cdn.State) error {
		all, err := d.Purges(t.Context(), ams, edge)
		must(t, err)
		for _, e := range all {
			if e.Item.Provider == "cf" && e.Item.Epoch == epoch && e.Item.Selector.Value == "gen-1" && (state == "" && e.Open() || e.State == state) {
				return nil
			}
		}
		return fmt.Errorf("cf has nothing of epoch %d that is %q", epoch, state)
	}
	f.roll(d, release("1"), plan([]wire.Region{ams}), "done")
	busy.Store(true)
	f.roll(d, release("2"), plan([]wire.Region{ams}), "done")
	must(t, owed(2, ""))
	waits := plan([]wire.Region{ams})
	waits.Waves[0].Approve = 1
	v3 := release("3")
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "3", Plan: waits}, "op")
	must(t, err)
	eventually(t, func() error {
		v, err := d.App(t.Context(), edge)
		must(t, err)
		if phase := v.Summary.Regions[0].Phase; phase != rollout.PhaseBaking {
			return fmt.Errorf("%s is %s", ams, phase)
		}
		return nil
	})
	must(t, owed(2, ""))
	wrong.Store(true)
	busy.Store(false)
	eventually(t, func() error { return owed(2, cdn.StateRefused) })
	_, err = d.Command(t.Context(), edge, "approve", rollout.Of{}, "another")
	must(t, err)
	f.ends(d, v3, rollout.StatusDone)
	wrong.Store(false)
	f.roll(d, release("4"), plan([]wire.Region{ams}), "done")
	eventually(t, func() error { return owed(4, cdn.StateAccepted) })
}

// A region's barrier has an order: fences, then the purges from the origin outwards, then
// all of these once more. A target that is optional is asked, and nobody waits for it.
func TestBarrierOrder(t *testing.T) {
	tp := &tape{}
	shield := fenced{tier{name: "shield", tape: tp, slow: 50 * time.Millisecond}}
	near, far, gone := fenced{tier{name: "near", tape: tp}}, tier{name: "far", tape: tp}, tier{name: "gone", tape: tp, down: true}
	f := newFleet(t, spec{regions: one("a1", "a2"), config: func(c *controller.Config) {
		c.Purgers = []cdn.Purger{shield, near, far, gone}
		c.OriginFetch = 50 * time.Millisecond
		c.Regions = map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{
			{Provider: "far", Scope: "s", Tier: 2}, {Provider: "near", Scope: "bare", Tier: 1}, {Provider: "near", Scope: "s", Tier: 1},
			{Provider: "shield", Scope: "s"}, {Provider: "gone", Scope: "s", Tier: 1, Optional: true},
		}}}
	}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	before := len(tp.since(0))
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	want := []string{
		"near fences edge.ams below 2", "shield fences edge.ams below 2",
		"shield purges key:edge-a", "near purges key:edge-a", "near purges key:edge-a", "far purges key:edge-a",
		"shield purges key:edge-a", "near purges key:edge-a", "near purges key:edge-a", "far purges key:edge-a",
	}
	got := tp.since(before)
	if len(got) > 2 {
		slices.Sort(got[:2]) // fences are raised side by side
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	views, err := d.Purges(t.Context(), ams, edge)
	must(t, err)
	fences, skipped, waiting := 0, 0, 0
	for _, v := range views {
		if v.Item.Epoch != 2 {
			continue
		}
		fences += btoi(v.Item.Selector.Kind == cdn.Fence && v.State == cdn.StateAccepted)
		skipped += btoi(v.Skipped != "")
		waiting += btoi(v.Item.Provider == "gone" && v.Open())
	}
	if fences != 3 || skipped != 1 || waiting != 4 { // gone has not accepted key:edge-b of epoch 1 either
		t.Errorf("%d fences, %d skipped, %d still to be sent, want 3, 1 and 4", fences, skipped, waiting)
	}

	v, err := d.App(t.Context(), edge)
	must(t, err)
	var told []string
	for _, b := range v.Barriers {
		told = append(told, fmt.Sprintf("%d %s/%s fence %q%s purge %q again %q of %d", b.Tier, b.Provider, b.Scope, b.Fence, b.NoFence, b.First, b.Second, b.Selectors))
	}
	if diff := cmp.Diff([]string{
		`0 shield/s fence "accepted" purge "verified" again "verified" of 1`,
		`1 near/bare fence "accepted"no fence is configured purge "verified" again "verified" of 1`,
		`1 near/s fence "accepted" purge "verified" again "verified" of 1`,
		`1 gone/s fence "" purge "intended" again "intended" of 2`,
		`2 far/s fence "" purge "verified" again "verified" of 1`,
	}, told); diff != "" {
		t.Errorf("barriers (-want +got):\n%s", diff)
	}

	// Sent is of the purge: a fence comes before, and clears nothing out.
	for _, b := range v.Barriers {
		var first time.Time
		for _, v := range views {
			if i := v.Item; i.Provider == b.Provider && i.Scope == b.Scope && i.Epoch == 2 && i.Selector.Kind != cdn.Fence && (first.IsZero() || v.SentAt.Before(first)) {
				first = v.SentAt
			}
		}
		if !b.Optional && !b.Sent.Equal(first) { // the optional one is tried again and again
			t.Errorf("%s/%s: sent at %s, want %s", b.Provider, b.Scope, b.Sent, first)
		}
	}

	// The way back has an epoch, and so a fence, of its own.
	before = len(tp.since(0))
	_, err = d.Command(t.Context(), edge, "undo", rollout.Of{}, "op")
	must(t, err)
	f.waitStatus(d, edge, rollout.StatusDone, 3)
	if got := tp.since(before); len(got) < 2 || !slices.Contains(got[:2], "shield fences edge.ams below 3") {
		t.Errorf("undo: %q", got)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// waitStatus waits until the region is at an epoch and the rollout at a status.
func (f *fleet) waitStatus(d *driver, app wire.App, status rollout.RolloutStatus, epoch wire.Epoch) {
	f.t.Helper()
	eventually(f.t, func() error {
		v, err := d.App(f.t.Context(), app)
		if err != nil {
			return err
		}
		if r := v.Summary.Regions[0]; v.Rollout.Status != status || r.Epoch != epoch {
			return fmt.Errorf("%s at epoch %s", v.Rollout.Status, r.Epoch)
		}
		return nil
	})
}
