package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func TestPlan(t *testing.T) {
	f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1", "a2"}, fra: {"f1"}}})
	d := f.drive()
	ctx := t.Context()
	c := site(edge, "1", "a", "b")
	c.files["old.conf"] = "old"
	f.roll(d, f.publish(d, c), plan([]wire.Region{ams}), "done")
	v2 := f.publish(d, content{app: edge, version: "2", files: map[string]string{"a.conf": "a2", "b.conf": "b", "new.conf": "n"}, purge: []wire.PurgeRule{
		{Files: "a.conf", Selectors: []string{"key:{app}-a", "key:gen@{region}-{epoch}"}},
		{Files: "b.conf", Selectors: []string{"key:{app}-b"}},
		{Files: "old.conf", Selectors: []string{"key:old-{version}"}},
	}})

	before := len(f.line.list())
	view, err := d.Plan(ctx, controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams}, []wire.Region{fra})})
	must(t, err)
	if !view.Changes || view.Digest != v2.Digest || len(view.Regions) != 2 {
		t.Fatalf("plan is %+v", view)
	}
	type brief struct {
		Wave, Agents int
		From         wire.Version
		Files, Purge []string
	}
	var got []brief
	for _, r := range view.Regions {
		got = append(got, brief{r.Wave, r.Agents, r.From, r.Files, r.Purge})
		if r.PurgeFor <= 0 {
			t.Errorf("the purge of %s is predicted to take %s", r.Region, r.PurgeFor)
		}
	}
	want := []brief{
		{1, 2, "1", []string{"~a.conf", "+new.conf", "-old.conf"}, []string{"key:edge-a", "key:gen@ams-1", "key:old-1"}},
		{2, 1, "", []string{"+a.conf", "+b.conf", "+new.conf"}, []string{"key:edge-a", "key:edge-b", "key:gen@fra-1", "key:old-2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if after := len(f.line.list()); after != before {
		t.Errorf("planning did something: %v", f.line.list()[before:])
	}

	t.Run("a moved index is refused", func(t *testing.T) {
		req := controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams}), CheckIndex: &view.Index}
		f.roll(d, v2, plan([]wire.Region{ams}), "done")
		_, err := d.Start(ctx, req, "op")
		wantErr(t, "start on a moved index", err, controller.ErrConflict)
		wantErr(t, "start on a moved index", err, rollout.ErrMoved)
		again, err := d.Plan(ctx, req)
		must(t, err)
		asBefore := []string{"key:edge-a", "key:gen@ams-1", "key:old-1"} // an activation is followed by a purge whatever it brings
		if again.Changes || len(again.Regions[0].Files) > 0 || !slices.Equal(again.Regions[0].Purge, asBefore) {
			t.Errorf("the plan to the running bundle is %+v", again)
		}
		req.CheckIndex = &again.Index
		_, err = d.Start(ctx, req, "op")
		must(t, err)
		f.ends(d, v2, "done")
	})
	bad := plan([]wire.Region{"mars"})
	for _, test := range []struct {
		name string
		req  controller.StartRequest
		want error
	}{
		{"neither version nor digest", controller.StartRequest{App: edge}, controller.ErrInvalid},
		{"both", controller.StartRequest{App: edge, Version: "2", Digest: v2.Digest}, controller.ErrInvalid},
		{"unknown version", controller.StartRequest{App: edge, Version: "9"}, controller.ErrNotFound},
		{"no version at all", controller.StartRequest{App: edge, Version: "two"}, controller.ErrInvalid},
		{"another app's digest", controller.StartRequest{App: waf, Digest: v2.Digest}, controller.ErrNotFound},
		{"unknown region", controller.StartRequest{App: edge, Version: "2", Plan: bad}, controller.ErrInvalid},
	} {
		_, err := d.Plan(ctx, test.req)
		wantErr(t, "plan: "+test.name, err, test.want)
		_, err = d.Start(ctx, test.req, "op")
		wantErr(t, "start: "+test.name, err, test.want)
	}
}

// A plan says which steps a region takes, which data planes take them, and what to think of
// before one begins.
func TestPlanWarns(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{
		regions: map[wire.Region][]wire.AgentID{ams: {"a1", "a2", "a3", "a4"}, fra: {"f1"}},
		apps:    map[wire.AgentID][]wire.App{"a4": {waf}},
	})
	both := []string{wire.TraitArms, wire.TraitDropFree}
	f.agents["a1"].plane, f.agents["a1"].traits = "varnish/7.1", both
	f.agents["a2"].plane, f.agents["a2"].traits = "nginx/1.22.1", []string{wire.TraitArms}
	f.agents["f1"].plane, f.agents["f1"].traits = "varnish/7.1", both
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	f.reported(d, 5)

	p := plan([]wire.Region{ams}, []wire.Region{fra})
	p.Waves[0].Strategy, p.Waves[0].Bake = rollout.StrategyBlueGreen, wire.Duration(time.Minute)
	p.Waves[1].Strategy, p.Waves[1].Growth = rollout.StrategyCanary, &rollout.Growth{Linear: rollout.Share(50), Bake: wire.Duration(time.Minute)}
	view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p})
	must(t, err)

	p.Waves[0].Strategy = rollout.StrategyCanary
	p.Waves[0].Steps = []rollout.PlanStep{{Activate: rollout.Share(50)}, {Activate: rollout.Count(1)}, {Activate: rollout.Share(100)}}
	shrinks, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p})
	must(t, err)
	if w := "step 2 (1) is fewer of 3 agents than the step before (50%): it activates nothing"; !has(shrinks.Regions[0].Warnings, w) {
		t.Errorf("warned of %q, want %q among it", shrinks.Regions[0].Warnings, w)
	}

	for i := range view.Regions {
		r := &view.Regions[i]
		r.Files, r.Purge, r.PurgeFor = nil, nil, 0
	}
	want := []controller.PlanRegion{
		{
			Wave: 1, Region: ams, Agents: 3, Live: 3, AtOnce: 3, Strategy: rollout.StrategyBlueGreen,
			Steps: []rollout.PlanStep{{Activate: rollout.Share(100)}},
			Planes: []controller.PlanPlane{
				{Plane: "nginx/1.22.1", Traits: []string{wire.TraitArms}, Agents: 1},
				{Plane: "stand-in/1", Traits: []string{}, Agents: 1},
				{Plane: "varnish/7.1", Traits: both, Agents: 1},
			},
			Warnings: []string{
				"nginx/1.22.1, 1 agent: a switch may lose requests",
				"stand-in/1, 1 agent: a switch may lose requests",
				"stand-in/1, 1 agent: nothing is preloaded, as blue-green wants it",
			},
		}, {
			Wave: 2, Region: fra, Agents: 1, Live: 1, AtOnce: 1, Strategy: rollout.StrategyCanary,
			Steps:  []rollout.PlanStep{{Activate: rollout.Share(50), Bake: wire.Duration(time.Minute)}, {Activate: rollout.Share(100)}},
			Planes: []controller.PlanPlane{{Plane: "varnish/7.1", Traits: both, Agents: 1}},
		},
	}
	if diff := cmp.Diff(want, view.Regions); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}

	p = plan([]wire.Region{ams}, []wire.Region{fra})
	p.MaxUnavailable = rollout.Count(9)
	warns := func(what, want string) {
		t.Helper()
		view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p})
		must(t, err)
		if !slices.Contains(view.Regions[0].Warnings, want) {
			t.Errorf("%s: warnings %q, want %q", what, view.Regions[0].Warnings, want)
		}
	}
	warns("rolling", "max_unavailable 9 covers all 3 agents: one of them waits all the same")
	p.Waves[0].Strategy, p.Waves[0].Steps = rollout.StrategyCanary, []rollout.PlanStep{{Activate: rollout.Count(3)}, {Activate: rollout.Share(100)}}
	warns("steps", "step 1: activate 3 covers all 3 agents: one of them waits all the same")
	for _, id := range []wire.AgentID{"a1", "a2", "a3"} {
		must(t, d.Drain(t.Context(), ams, id, true, "op"))
	}
	warns("drained", "all agents are drained: nobody confirms the release here")
	if view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p}); err != nil || view.Regions[0].AtOnce != 0 {
		t.Errorf("of no agents some switch at the same time: %+v, %v", view.Regions, err)
	}
}

// On a region that is half done, what its agents run is told beside what is committed.
func TestPlanHalfDone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2", "a3")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	f.publish(d, site(edge, "2", "a2", "b"))
	f.publish(d, site(edge, "3", "a3", "b"))
	p := plan([]wire.Region{ams})
	p.Waves[0].Strategy = rollout.StrategyCanary
	p.Waves[0].Steps = []rollout.PlanStep{{Activate: rollout.Count(1), Bake: wire.Duration(time.Hour)}, {Activate: rollout.Share(100)}}
	f.begin(d, controller.StartRequest{App: edge, Version: "2", Plan: p})
	want := []rollout.RunSummary{{Version: "2", Agents: 1}}
	eventually(t, func() error {
		view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "3", Plan: p})
		must(t, err)
		if r := view.Regions[0]; r.From != "1" || !slices.Equal(r.Others, want) {
			return fmt.Errorf("from %s and %v, want 1 and %v", r.From, r.Others, want)
		}
		return nil
	})
}

// A node that runs something else than its region has committed, as after a rollback on the
// node, is something that a rollout of the same bundle changes.
func TestPlanNodeBehind(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	a2 := f.agents["a2"]
	a2.mu.Lock()
	before := a2.running[edge]
	a2.mu.Unlock()
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	changes := func(want bool) {
		t.Helper()
		eventually(t, func() error {
			view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})})
			must(t, err)
			if view.Changes != want {
				return fmt.Errorf("changes %t with %v beside %s, want %t", view.Changes, view.Regions[0].Others, view.Regions[0].From, want)
			}
			return nil
		})
	}
	changes(false)
	a2.mu.Lock()
	a2.running[edge], a2.does = before, behaviour{own: true}
	a2.mu.Unlock()
	a2.poke()
	changes(true)
}

// reported waits until so many agents have reported.
func (f *fleet) reported(d *driver, n int) {
	f.t.Helper()
	eventually(f.t, func() error {
		agents, err := d.Agents(f.t.Context(), "")
		must(f.t, err)
		heard := slices.DeleteFunc(agents, func(a controller.AgentView) bool { return a.Report == nil })
		if len(heard) != n {
			return fmt.Errorf("%d agents have reported, want %d", len(heard), n)
		}
		return nil
	})
}

// limited is a provider that takes one key in a call, and a call in ten seconds.
type limited struct{ cdn.Purger }

func (l limited) Capabilities() cdn.Capabilities {
	return cdn.Capabilities{
		Kinds:   map[cdn.Kind]cdn.Limits{cdn.Key: {Batch: 1, Bytes: 1024, Bucket: "calls"}},
		Buckets: map[string]cdn.Quota{"calls": {Burst: 1, PerSecond: 0.1}},
	}
}

// A purge that cannot be done within the plan's deadline would hold its region for certain:
// such a plan is refused.
func TestPlanTooSlowToPurge(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: func(cfg *controller.Config) {
		cfg.Purgers = []cdn.Purger{limited{cfg.Purgers[0]}}
	}})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	p := plan([]wire.Region{ams})
	req := controller.StartRequest{App: edge, Version: "1", Plan: p}
	_, planned := d.Plan(t.Context(), req)
	_, started := d.Start(t.Context(), req, "op")
	for what, err := range map[string]error{"plan": planned, "start": started} {
		wantErr(t, what, err, controller.ErrInvalid)
		// Two keys, twice, the first call at once.
		if want := "plan: deadline: is 20s, purging ams takes 30s at the providers' limits"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	p.Deadline = wire.Duration(time.Minute)
	view, err := d.Plan(t.Context(), req)
	must(t, err)
	if got := view.Regions[0].PurgeFor.Std(); got < 30*time.Second || got > 31*time.Second {
		t.Errorf("the purge is predicted to take %s, want 30s and the gap", got)
	}
}

// scoped is limited with a quota for each scope.
type scoped struct{ limited }

func (s scoped) Capabilities() cdn.Capabilities {
	caps := s.limited.Capabilities()
	caps.Buckets = map[string]cdn.Quota{"calls": {Burst: 1, PerSecond: 0.1, PerScope: true}}
	return caps
}

// Regions of one wave that share a quota purge together, and so take longer, as far as the plan
// lets them; those of another wave, or with a quota of their own, do not.
func TestPlanSharedAccount(t *testing.T) {
	t.Parallel()
	together := []wire.Region{ams, fra}
	one := func(waves ...[]wire.Region) *rollout.Plan {
		p := plan(waves...)
		p.Deadline = wire.Duration(time.Minute)
		return p
	}
	parallel := one(together)
	parallel.Waves[0].MaxParallel = 1
	for name, test := range map[string]struct {
		plan     *rollout.Plan
		scoped   bool
		fraScope string
		want     time.Duration // two keys, twice, and for both regions: a call in ten seconds, the first at once
	}{
		"one account":                  {one(together), false, scope(fra), 70 * time.Second},
		"one after the other":          {parallel, false, scope(fra), 30 * time.Second},
		"two waves":                    {one([]wire.Region{ams}, []wire.Region{fra}), false, scope(fra), 30 * time.Second},
		"quota of the scope":           {one(together), true, scope(fra), 30 * time.Second},
		"quota of the scope, the same": {one(together), true, scope(ams), 70 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: {"f1"}}, config: func(cfg *controller.Config) {
				cfg.Purgers = []cdn.Purger{limited{cfg.Purgers[0]}}
				if test.scoped {
					cfg.Purgers = []cdn.Purger{scoped{limited{cfg.Purgers[0]}}}
				}
				cfg.Regions[fra] = controller.RegionConfig{CDN: []controller.CDNTarget{{Provider: "fastly", Scope: test.fraScope}}}
			}})
			d := f.drive()
			f.publish(d, site(edge, "1", "a", "b"))
			view, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: test.plan})
			must(t, err)
			for _, r := range view.Regions {
				if got := r.PurgeFor.Std(); got < test.want || got > test.want+time.Second {
					t.Errorf("the purge of %s is predicted to take %s, want %s and the gap", r.Region, got, test.want)
				}
				if warned := strings.Contains(strings.Join(r.Warnings, "; "), "beside the other regions"); warned != (test.want > time.Minute) {
					t.Errorf("%s has the warnings %q", r.Region, r.Warnings)
				}
			}
		})
	}
}
