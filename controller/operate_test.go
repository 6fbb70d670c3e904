package controller_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		{2, 1, "", []string{"+a.conf", "+b.conf", "+new.conf"}, []string{"key:edge-a", "key:edge-b", "key:gen@fra-1"}},
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
		if again.Changes || len(again.Regions[0].Files) > 0 || len(again.Regions[0].Purge) > 0 {
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
		{"no version at all", controller.StartRequest{App: edge, Version: "two"}, controller.ErrNotFound},
		{"another app's digest", controller.StartRequest{App: waf, Digest: v2.Digest}, controller.ErrNotFound},
		{"unknown region", controller.StartRequest{App: edge, Version: "2", Plan: bad}, controller.ErrInvalid},
	} {
		_, err := d.Plan(ctx, test.req)
		wantErr(t, "plan: "+test.name, err, test.want)
		_, err = d.Start(ctx, test.req, "op")
		wantErr(t, "start: "+test.name, err, test.want)
	}
}

func TestCommandsRefused(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	ctx := t.Context()
	_, err := d.Command(ctx, edge, "pause", "op")
	wantErr(t, "pause an app without rollout", err, controller.ErrNotFound)
	info := f.publish(d, site(edge, "1", "a", "b"))
	bad := plan([]wire.Region{ams})
	bad.Deadline = 0
	_, err = d.Start(ctx, controller.StartRequest{App: edge, Version: "1", Plan: bad}, "op")
	wantErr(t, "start a bad plan", err, controller.ErrInvalid)
	f.roll(d, info, plan([]wire.Region{ams}), "done")
	for _, name := range []string{"pause", "resume", "abort", "undo"} {
		_, err := d.Command(ctx, edge, name, "op")
		wantErr(t, name+" after the end", err, controller.ErrConflict)
	}
	_, err = d.Command(ctx, edge, "explode", "op")
	wantErr(t, "an unknown command", err, controller.ErrInvalid)
}

// What an operator is told about is in the audit log, with the inputs of every decision.
func TestAudit(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	all := f.auditHolds(d)
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, e.Kind)
		if e.Kind == string(rollout.KindBarrier) && len(e.Inputs) < 10 {
			t.Errorf("decision %q has no inputs: %s", e.Text, e.Inputs)
		}
	}
	for _, kind := range []string{"enroll", "publish", "start", "stage", "activate", "confirm", "purge", "barrier", "commit", "done"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no audit entry %q among %v", kind, kinds)
		}
	}
	for name, spoil := range map[string]func([]controller.AuditEntry) []controller.AuditEntry{
		"text":      func(e []controller.AuditEntry) []controller.AuditEntry { e[1].Text = "nothing happened"; return e },
		"inputs":    func(e []controller.AuditEntry) []controller.AuditEntry { e[3].Inputs = []byte(`{}`); return e },
		"one gone":  func(e []controller.AuditEntry) []controller.AuditEntry { return slices.Delete(e, 2, 3) },
		"first one": func(e []controller.AuditEntry) []controller.AuditEntry { return e[1:] },
		"swapped":   func(e []controller.AuditEntry) []controller.AuditEntry { e[1], e[2] = e[2], e[1]; return e },
		"rehashed": func(e []controller.AuditEntry) []controller.AuditEntry {
			e[1].By, e[1].Hash = "nobody", wire.Digest{}
			b, err := wire.EncodeJSON(e[1])
			must(t, err)
			e[1].Hash = wire.DigestOf(b)
			return e
		},
	} {
		if err := controller.VerifyAudit(wire.Digest{}, spoil(slices.Clone(all))); err == nil {
			t.Errorf("a log with a change of %s verifies", name)
		}
	}
}
