package controller_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func TestCommandsRefused(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	ctx := t.Context()
	_, err := d.Command(ctx, edge, "pause", rollout.Of{}, "op")
	wantErr(t, "pause an app without rollout", err, controller.ErrNotFound)
	info := f.publish(d, site(edge, "1", "a", "b"))
	bad := plan([]wire.Region{ams})
	bad.Deadline = 0
	_, err = d.Start(ctx, controller.StartRequest{App: edge, Version: "1", Plan: bad}, "op")
	wantErr(t, "start a bad plan", err, controller.ErrInvalid)
	for _, v := range []wire.Version{"1-rc1", "1.junk", "1.0.0.0.7", "1.x", "nonsense", "01"} {
		var field *wire.FieldError
		_, err := d.Start(ctx, controller.StartRequest{App: edge, Version: v, Plan: plan([]wire.Region{ams})}, "op")
		if wantErr(t, "start "+string(v), err, controller.ErrInvalid); !errors.As(err, &field) || field.Field != "version" {
			t.Errorf("start %s: %v, want a refusal of the version", v, err)
		}
	}
	wrong := uint64(7)
	_, err = d.Start(ctx, controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams}), CheckIndex: &wrong}, "op")
	wantErr(t, "start on another index", err, controller.ErrConflict)
	_, err = d.App(ctx, edge)
	wantErr(t, "the app after a start was refused", err, controller.ErrNotFound)
	if apps, err := d.Apps(ctx); err != nil || len(apps) > 0 {
		t.Errorf("after a start was refused there are apps: %v, %v", apps, err)
	}
	f.roll(d, info, plan([]wire.Region{ams}), "done")
	for _, name := range []string{"pause", "resume", "abort", "undo"} {
		_, err := d.Command(ctx, edge, name, rollout.Of{}, "op")
		wantErr(t, name+" after the end", err, controller.ErrConflict)
	}
	_, err = d.Command(ctx, edge, "explode", rollout.Of{}, "op")
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
