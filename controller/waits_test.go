package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// refused checks that a start is refused, and why.
func (f *fleet) refused(d *driver, req controller.StartRequest, kind error, text string) {
	f.t.Helper()
	_, err := d.Start(f.t.Context(), req, "op")
	wantErr(f.t, "start of "+string(req.Version), err, kind)
	if err == nil || !strings.Contains(err.Error(), text) {
		f.t.Errorf("start of %s: %v, want %q", req.Version, err, text)
	}
}

// approved is a plan whose first step wants somebody's approval.
func approved() *rollout.Plan {
	p := canary([]wire.Region{ams})
	p.Waves[0].Steps[0].Approve = 1
	return p
}

// A step that wants approval waits for somebody else than who started the rollout.
func TestApproval(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.begin(d, controller.StartRequest{App: edge, Version: "1", Plan: approved()})
	h := f.waits(d, ams, rollout.HoldApproval, "step 1 wants 1 more approval, not of op")
	if in := h.Deadline.Sub(h.Since); in != time.Hour {
		t.Errorf("the hold has a deadline in %s, want approve_within", in)
	}
	_, err := d.Command(t.Context(), edge, "approve", rollout.Of{}, "op")
	wantErr(t, "an approval of one's own rollout", err, controller.ErrConflict)
	f.command(d, "approve", "ann")
	f.ends(d, v1, "done")
	f.explains(d, "ann approves, 1 of 1", "by=ann")
	if !slices.ContainsFunc(f.auditHolds(d), func(e controller.AuditEntry) bool { return e.Kind == "approve" && e.By == "ann" }) {
		t.Error("the approval is not in the audit log under the approver's name")
	}
}

// A rollout that waits can be superseded by name; its end is in the history.
func TestSupersede(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	f.publish(d, site(edge, "2", "a2", "b"))
	v3 := f.publish(d, site(edge, "3", "a3", "b"))
	f.begin(d, controller.StartRequest{App: edge, Version: "2", Plan: approved()})
	f.waits(d, ams, rollout.HoldApproval, "")
	held := f.last(d).ID

	req := controller.StartRequest{App: edge, Version: "3", Plan: plan([]wire.Region{ams})}
	f.refused(d, req, controller.ErrConflict, "a rollout is under way")
	view, err := d.Plan(t.Context(), req)
	must(t, err)
	if !has(view.Regions[0].Warnings, "rollout "+held+" holds here: step 1 wants 1 more approval") {
		t.Errorf("plan does not warn of the rollout that holds: %q", view.Regions[0].Warnings)
	}
	req.Supersede = "another"
	f.refused(d, req, controller.ErrConflict, "is not under way")
	req.Supersede = held
	f.begin(d, req)
	f.ends(d, v3, "done")
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "3", Epoch: 3}})
	barrier(t, f.line, ams, 3, -1)

	past, err := d.History(t.Context(), edge)
	must(t, err)
	if len(past) != 3 || past[1].ID != held || past[1].Status != rollout.StatusSuperseded || past[1].Ended.IsZero() || past[1].Halt != "superseded by "+past[0].ID {
		t.Errorf("history is %+v", past)
	}
	d = f.bounce(d, f.dir, func() {})
	again, err := d.History(t.Context(), edge)
	if err != nil || len(again) != 3 || again[1].Status != rollout.StatusSuperseded {
		t.Errorf("history after a restart has %d rollouts, %v", len(again), err)
	}
}

func has(texts []string, part string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, part) })
}

// After a bundle had to be taken back, its authors' next one is started by somebody who names
// that failure, or not at all.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.roll(d, v1, plan([]wire.Region{ams}), "done")
	f.agents["a2"].behave(behaviour{takeBack: "2"})
	failed := f.roll(d, f.publish(d, site(edge, "2", "bad", "b")), plan([]wire.Region{ams}), "reverted")
	if want := strings.Join(v1.Authors, ","); want == "" || failed.Source != want {
		t.Errorf("the rollout is of %q, want the bundle's authors %q", failed.Source, want)
	}
	v3 := f.publish(d, site(edge, "3", "a3", "b"))
	d = f.bounce(d, f.dir, func() {})

	req := controller.StartRequest{App: edge, Version: "3", Plan: plan([]wire.Region{ams})}
	f.refused(d, req, controller.ErrConflict, "acknowledge "+failed.ID)
	f.refused(d, req, rollout.ErrQuarantine, failed.Source)
	view, err := d.Plan(t.Context(), req)
	must(t, err)
	if want := fmt.Sprintf("bundles of edge by %s (not of other apps) are in quarantine since rollout %s failed: ", failed.Source, failed.ID); !has(view.Regions[0].Warnings, want) {
		t.Errorf("plan warns of %q, want %q", view.Regions[0].Warnings, want)
	}
	req.Acknowledge = "another"
	f.refused(d, req, rollout.ErrQuarantine, "acknowledge "+failed.ID)
	req.Acknowledge = failed.ID
	f.begin(d, req)
	f.ends(d, v3, "done")
	f.explains(d, "who has looked at the failure of "+failed.ID)
	f.refused(d, req, controller.ErrInvalid, "start: acknowledge: is \""+failed.ID)
}

// An emergency that two people approve passes over what its plan waits for, and over nothing
// else.
func TestEmergency(t *testing.T) {
	t.Parallel()
	frozen := func(cfg *controller.Config) { cfg.Freeze = []rollout.Window{always("holidays")} }
	f := newFleet(t, spec{regions: one("a1", "a2", "a3"), config: frozen})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	p := approved()
	p.Waves[0].Bake, p.Waves[0].Steps[0].Bake = wire.Duration(time.Hour), wire.Duration(time.Hour)
	req := controller.StartRequest{App: edge, Version: "1", Plan: p, Emergency: &rollout.Emergency{Expires: time.Now().Add(time.Hour)}}
	f.refused(d, req, controller.ErrInvalid, "emergency.reason")
	_, err := d.Plan(t.Context(), req)
	wantErr(t, "a plan of an emergency without a reason", err, controller.ErrInvalid)
	req.Emergency.Reason = "the origin is on fire"
	view, err := d.Plan(t.Context(), req)
	must(t, err)
	if g := view.Glass; g == nil || g.Reason != req.Emergency.Reason || !g.Expires.Equal(req.Emergency.Expires) || len(g.Approvals) > 0 {
		t.Errorf("the emergency is planned as %+v", g)
	}
	if r := view.Regions[0]; r.AtOnce != 1 || len(r.Steps) != 2 || r.Steps[0].Bake+wire.Duration(r.Steps[0].Approve) != 0 || strings.Contains(fmt.Sprint(r.Warnings), "frozen") {
		t.Errorf("the emergency is planned to take its region as %+v", r)
	}
	if w := view.Plan.Waves[0]; w.Bake != p.Waves[0].Bake || w.Steps[0].Bake != p.Waves[0].Steps[0].Bake || w.Steps[0].Approve != 1 || len(view.Plan.Freeze) != 1 {
		t.Errorf("the plan, which counts again when the emergency has expired, is %+v", view.Plan)
	}
	view, err = d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: p})
	must(t, err)
	if r := view.Regions[0]; view.Glass != nil || r.AtOnce != 2 || r.Steps[0].Approve != 1 || !strings.Contains(fmt.Sprint(r.Warnings), "frozen") {
		t.Errorf("without an emergency the plan is %+v", view)
	}
	f.begin(d, req)
	f.waits(d, ams, rollout.HoldApproval, "the emergency wants 2 more approvals: the origin is on fire")
	f.command(d, "approve", "op")
	_, err = d.Command(t.Context(), edge, "approve", rollout.Of{}, "op")
	wantErr(t, "a second approval of the same", err, controller.ErrConflict)
	if i := f.line.first(ordered(edge, ams, 1, "activate")); i >= 0 {
		t.Error("the emergency began with one approval")
	}
	f.command(d, "approve", "ann")
	f.ends(d, v1, "done")
	barrier(t, f.line, ams, 1, -1)
}

// always is a window that a test lies in.
func always(reason string) rollout.Window {
	now := time.Now().UTC()
	return rollout.Window{From: now.Add(-time.Hour).Format(time.RFC3339), Until: now.Add(time.Hour).Format(time.RFC3339), Reason: reason}
}

// While the fleet is frozen a rollout is staged and holds; an undo goes through.
func TestFreeze(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.roll(d, v1, plan([]wire.Region{ams}), "done")
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	window := always("holidays")
	f.spec.config = func(cfg *controller.Config) { cfg.Freeze = []rollout.Window{window} }
	d = f.bounce(d, f.dir, func() {})
	f.command(d, "undo", "op")
	f.ends(d, v1, "done")

	f.publish(d, site(edge, "3", "a3", "b"))
	req := controller.StartRequest{App: edge, Version: "3", Plan: plan([]wire.Region{ams})}
	view, err := d.Plan(t.Context(), req)
	must(t, err)
	text := "until " + window.Until + ": holidays"
	if !has(view.Regions[0].Warnings, "frozen "+text) {
		t.Errorf("plan does not warn of the freeze: %q", view.Regions[0].Warnings)
	}
	own := rollout.Window{From: window.From, Until: time.Now().UTC().Add(time.Minute).Format(time.RFC3339), Reason: "the plan's own, which ends earlier"}
	req.Plan = &view.Plan
	req.Plan.Freeze = append(req.Plan.Freeze, own)
	f.begin(d, req)
	h := f.waits(d, ams, rollout.HoldFreeze, "nothing new begins "+text)
	if until, _ := time.Parse(time.RFC3339, window.Until); h.Deadline.Sub(until).Abs() > time.Second {
		t.Errorf("the hold has its deadline at %s, want %s", h.Deadline, window.Until)
	}
	if i := f.line.first(ordered(edge, ams, 4, "activate")); i >= 0 {
		t.Error("a frozen region was activated")
	}
	if got := f.last(d).Plan.Freeze; len(got) != 2 || got[0].Reason != "holidays" || got[1].Reason != own.Reason {
		t.Errorf("the rollout's windows are %+v, want the fleet's once and its own", got)
	}
}

// A window of the fleet that means nothing is refused with its field.
func TestFreezeRefused(t *testing.T) {
	cfg := controller.Config{
		Dir: t.TempDir(), Bus: newFleet(t, spec{}).bus.Controller("main"), Regions: map[wire.Region]controller.RegionConfig{ams: {}},
		Freeze: []rollout.Window{always(""), {Days: []string{"fri"}, From: "16:00", Until: "late"}},
	}
	k := newKeys(t)
	cfg.Trust, cfg.Key = k.trust, k.control
	_, err := controller.New(cfg)
	if err == nil || err.Error() != `controller: freeze[1].until: is "late", want a time like 16:00, since days are given` {
		t.Errorf("error %v", err)
	}
}
