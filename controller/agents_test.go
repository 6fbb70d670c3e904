package controller_test

import (
	"errors"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

func TestEnroll(t *testing.T) {
	f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1"}, fra: nil}})
	d := f.launch("main", f.dir)
	if _, err := d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a1", Key: f.agents["a1"].key.Public()}, "op"); err != nil && !errors.Is(err, controller.ErrStandby) {
		t.Errorf("before it leads: got error %v, want %v or none", err, controller.ErrStandby)
	}
	d.leads()
	key := f.agents["a1"].key.Public()
	for _, test := range []struct {
		name string
		req  controller.EnrollRequest
		want error
	}{
		{"first", controller.EnrollRequest{Region: ams, Agent: "a1", Key: key}, nil},
		{"repeat", controller.EnrollRequest{Region: ams, Agent: "a1", Key: key}, nil},
		{"second key", controller.EnrollRequest{Region: ams, Agent: "a1", Key: newKey(t).Public()}, controller.ErrConflict},
		{"second region", controller.EnrollRequest{Region: fra, Agent: "a1", Key: key}, controller.ErrConflict},
		{"unknown region", controller.EnrollRequest{Region: "mars", Agent: "a2", Key: key}, controller.ErrNotFound},
		{"bad name", controller.EnrollRequest{Region: ams, Agent: "A 2", Key: key}, controller.ErrInvalid},
		{"no key", controller.EnrollRequest{Region: ams, Agent: "a2"}, controller.ErrInvalid},
	} {
		got, err := d.Enroll(t.Context(), test.req, "op")
		wantErr(t, test.name, err, test.want)
		if err == nil && (got.Creds != "creds" || got.Agent != "a1" || len(got.Root) == 0) {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
	agents, err := d.Agents(t.Context(), ams)
	if err != nil || len(agents) != 1 || agents[0].Live || agents[0].Drained {
		t.Errorf("agents are %+v, %v, want one that is silent", agents, err)
	}
	if _, err := d.Agents(t.Context(), "mars"); !errors.Is(err, controller.ErrNotFound) {
		t.Errorf("agents of an unknown region: got error %v", err)
	}
	if n := len(f.auditHolds(d)); n != 1 {
		t.Errorf("%d audit entries, want one enrolment", n)
	}
}

// A drained agent is not waited for, and one that is back in service is purged after.
func TestDrain(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2", "a3")})
	d := f.drive()
	wantErr(t, "drain a stranger", d.Drain(t.Context(), ams, "a9", true, "op"), controller.ErrNotFound)
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")

	f.agents["a3"].behave(behaviour{silent: true})
	must(t, d.Drain(t.Context(), ams, "a3", true, "op"))
	must(t, d.Drain(t.Context(), ams, "a3", true, "op"))
	v2 := f.publish(d, site(edge, "2", "a2", "b"))
	f.roll(d, v2, plan([]wire.Region{ams}), "done")
	if i := f.line.first(func(m moment) bool { return m.agent == "a3" && m.epoch == 2 }); i >= 0 {
		t.Fatal("a drained agent that is silent has confirmed")
	}
	end := len(f.line.list())

	must(t, d.Drain(t.Context(), ams, "a3", false, "op"))
	f.agents["a3"].behave(behaviour{})
	eventually(t, func() error {
		late := f.line.last(func(m moment) bool { return m.agent == "a3" && m.epoch == 2 })
		if late < end || len(f.line.purgesBetween(ams, late, -1)) == 0 {
			return errors.New("no purge after the agent came back")
		}
		return nil
	})
	drains := 0
	for _, e := range f.auditHolds(d) {
		if e.Kind == "drain" || e.Kind == "undrain" {
			drains++
		}
	}
	if drains != 2 {
		t.Errorf("%d entries about draining, want 2", drains)
	}
}
