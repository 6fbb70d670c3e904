package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// find returns the bundle that a request names.
func (f *Fake) find(r controller.StartRequest) (controller.BundleInfo, error) {
	if r.Plan != nil {
		if err := r.Plan.Validate(regions); err != nil {
			return controller.BundleInfo{}, fmt.Errorf("%w: %w", controller.ErrInvalid, err)
		}
	}
	for _, b := range f.bundles {
		if b.App == r.App && (b.Digest == r.Digest || b.Version == r.Version) {
			return b, nil
		}
	}
	return controller.BundleInfo{}, fmt.Errorf("%w: no bundle %s %s%s is published", controller.ErrNotFound, r.App, r.Version, r.Digest)
}

// Index is what CheckIndex has to be.
const Index = 7

func (f *Fake) Plan(_ context.Context, r controller.StartRequest) (controller.PlanView, error) {
	return locked(f, func() (v controller.PlanView, err error) {
		b, err := f.find(r)
		if err != nil {
			return v, err
		}
		v = controller.PlanView{App: b.App, Version: b.Version, Digest: b.Digest, Index: Index, Plan: rollout.DefaultPlan(regions), Changes: len(f.film) == 0}
		if r.Plan != nil {
			v.Plan = *r.Plan
		}
		taken := v.Plan
		if r.Emergency != nil {
			v.Glass, taken = r.Emergency.Glass(), v.Plan.Hurried()
		}
		for i, w := range taken.Waves {
			for _, r := range w.Regions {
				v.Regions = append(v.Regions, controller.PlanRegion{Wave: i + 1, Region: r, Agents: 3, AtOnce: v.Plan.AtOnce(w, 3, true, v.Glass != nil), Live: 3, Files: []string{"+nginx.conf"},
					Purge: []string{"key:rules"}, PurgeFor: wire.Duration(4 * time.Second), Strategy: w.Strategy, Steps: w.Steps,
					Planes: []controller.PlanPlane{{Plane: "nginx/1.31.0", Traits: []string{wire.TraitDropFree}, Agents: 2}, {Plane: "process", Traits: []string{}, Agents: 1}}})
			}
		}
		return v, nil
	})
}

func (f *Fake) Start(_ context.Context, r controller.StartRequest, by string) (controller.AppView, error) {
	return locked(f, func() (v controller.AppView, err error) {
		b, err := f.find(r)
		if err != nil {
			return v, err
		}
		if f.scene != nil {
			return f.tell(f.startOf(b, r, by), "start", rollout.Of{}, by)
		}
		if r.CheckIndex != nil && *r.CheckIndex != Index {
			return v, fmt.Errorf("%w: %s is at index %d, not %d", controller.ErrConflict, r.App, Index, *r.CheckIndex)
		}
		f.record(by, "start", fmt.Sprintf("started %s %s", b.App, b.Version))
		return f.picture(), nil
	})
}

// startOf makes an event of a request. The engine's clock stands still, so an emergency
// lasts from there as long as it would from now.
func (f *Fake) startOf(b controller.BundleInfo, r controller.StartRequest, by string) rollout.Start {
	plan := rollout.DefaultPlan(regions)
	if r.Plan != nil {
		plan = *r.Plan
	}
	if r.Emergency != nil {
		em := *r.Emergency
		em.Expires = f.scene.Now.Add(time.Until(em.Expires).Round(time.Second))
		r.Emergency = &em
	}
	return rollout.Start{Now: f.scene.Now, ID: fmt.Sprintf("20261123-130000-%03d-second", len(f.past)), By: by, Seed: "second", Plan: plan, CheckIndex: r.CheckIndex,
		Source: Author, Acknowledge: r.Acknowledge, Supersede: r.Supersede, Emergency: r.Emergency,
		Target: wire.Target{Digest: b.Digest, Version: b.Version, Packs: []wire.PackRef{{Index: b.Index}}}}
}

// tell gives the engine a command, and records it if it is taken.
func (f *Fake) tell(e rollout.Event, name string, of rollout.Of, by string) (controller.AppView, error) {
	if err := rollout.Check(*f.scene, e); err != nil {
		return controller.AppView{}, fmt.Errorf("%w: %w", controller.ErrConflict, err)
	}
	next, _ := rollout.Step(*f.scene, e)
	if old := f.scene.Rollout; old != nil && old.ID != next.Rollout.ID {
		f.past = append(f.past, rollout.Superseded(*old, *next.Rollout))
	}
	f.scene = &next
	text := name + " " + string(App)
	if of.Rollout != "" {
		text += " of " + of.Rollout
	}
	f.record(by, name, text)
	return f.picture(), nil
}

func (f *Fake) Command(_ context.Context, app wire.App, name string, of rollout.Of, by string) (controller.AppView, error) {
	return locked(f, func() (v controller.AppView, err error) {
		if app != App || len(f.film) == 0 && f.scene == nil {
			return v, fmt.Errorf("%w: app %q has never been rolled out", controller.ErrNotFound, app)
		}
		if f.scene == nil {
			f.record(by, name, name+" "+string(app))
			return f.picture(), nil
		}
		now := f.scene.Now
		e, known := map[string]rollout.Event{
			"pause": rollout.Pause{Now: now, By: by, Of: of}, "resume": rollout.Resume{Now: now, By: by, Of: of},
			"approve": rollout.Approve{Now: now, By: by, Of: of}, "promote": rollout.Promote{Now: now, By: by, Of: of},
			"step-back": rollout.StepBack{Now: now, By: by, Of: of},
			"abort":     rollout.Abort{Now: now, By: by, Of: of}, "abort-all": rollout.Abort{Now: now, By: by, All: true, Of: of},
			"undo": rollout.Undo{Now: now, ID: "20261123-130000-000-undo", By: by, Of: of},
		}[name]
		if !known {
			return v, fmt.Errorf("%w: %q is not a command, want one of %s", controller.ErrInvalid, name, strings.Join(controller.Commands, ", "))
		}
		return f.tell(e, name, of, by)
	})
}

func (f *Fake) Apps(context.Context) ([]controller.AppView, error) {
	return locked(f, func() ([]controller.AppView, error) {
		if len(f.film) == 0 && f.scene == nil {
			return nil, nil
		}
		return []controller.AppView{f.picture()}, nil
	})
}

// picture takes the next picture of the film, and tells that there is another.
func (f *Fake) picture() controller.AppView {
	if s := f.scene; s != nil {
		return controller.AppView{App: App, Summary: rollout.Status(*s), Rollout: s.Rollout, Explain: rollout.Explain(*s)}
	}
	if len(f.film) == 0 {
		return controller.AppView{App: App, Summary: rollout.Summary{App: App, At: Start}}
	}
	v := f.film[0]
	if len(f.film) > 1 {
		f.film = f.film[1:]
		d := f.film[0].Rollout.Decisions
		f.emit(controller.Event{App: App, Kind: "decision", Text: d[len(d)-1].Reason, Decision: &d[len(d)-1]})
	}
	return v
}

func (f *Fake) App(_ context.Context, app wire.App) (controller.AppView, error) {
	return locked(f, func() (controller.AppView, error) {
		if app != App {
			return controller.AppView{}, fmt.Errorf("%w: app %q has never been rolled out", controller.ErrNotFound, app)
		}
		return f.picture(), nil
	})
}

func (f *Fake) History(_ context.Context, app wire.App) ([]rollout.Rollout, error) {
	v, err := f.App(context.Background(), app)
	if err != nil || v.Rollout == nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := append(slices.Clone(f.past), *v.Rollout)
	slices.Reverse(list)
	return list, nil
}
