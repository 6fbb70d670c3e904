package controller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A gate is asked about the agents that switched and about the others, and the rollout goes
// on when it passes.
func TestGatePasses(t *testing.T) {
	t.Parallel()
	m := newMeter(t)
	f := newFleet(t, spec{regions: one("a1", "a2", "a3"), config: m.sources})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), gated(canary([]wire.Region{ams}), errorRate()), "done")
	f.explains(d, "gate errors of ams passes after step 1", "value=0", "samples=1000", "rest_samples=2000", "max=0.05", "max_ratio=3")
	f.explains(d, "gate errors of ams passes after wave 1", "no agent is left to compare with", "samples=3000")
	for i, agents := range m.asked {
		if len(agents) == 0 || slices.Contains(agents, "") {
			t.Errorf("query %d was about nobody", i+1)
		}
	}
}

// A gate that fails takes the wave back, and explain says on which numbers.
func TestGateFails(t *testing.T) {
	t.Parallel()
	m := newMeter(t)
	f := newFleet(t, spec{regions: map[wire.Region][]wire.AgentID{ams: {"a1", "a2", "a3"}, fra: {"f1"}}, config: m.sources})
	d := f.drive()
	waves := [][]wire.Region{{ams}, {fra}}
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan(waves...), "done")
	m.set(func(m *meter) {
		for id := range f.agents {
			m.errors[id] = 200
		}
	})
	v2 := f.publish(d, site(edge, "2", "bad", "b"))
	f.roll(d, v2, gated(canary(waves...), errorRate()), "reverted")
	f.explains(d, "revert", "gate errors of ams: 0.2 is above the limit of 0.05 over 1000 samples (at least 100)", "query=ratio", "value=0.2", "samples=1000", "max=0.05")
	switched := 0
	for _, a := range f.line.list() {
		if a.what == "confirmed" && a.epoch == 2 {
			switched++
		}
	}
	if switched != 1 {
		t.Errorf("%d agents ran the bad bundle, want the canary alone", switched)
	}
	barrier(t, f.line, ams, 3, -1)
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 3}, fra: {Version: "1", Epoch: 1}})

	// What is bad everywhere is not the bundle's fault, unless it is worse than that.
	m.set(func(m *meter) { clear(m.errors); m.errors["a1"], m.errors["a2"], m.errors["a3"] = 40, 40, 40 })
	f.begin(d, controller.StartRequest{App: edge, Version: "2", Plan: gated(canary(waves...), errorRate()), Acknowledge: f.last(d).ID})
	f.ends(d, v2, "done")
}

// last returns the last rollout.
func (f *fleet) last(d *driver) rollout.Rollout {
	f.t.Helper()
	v, err := d.App(f.t.Context(), edge)
	must(f.t, err)
	return *v.Rollout
}

// Without numbers, or with too few, a rollout holds with a reason and a deadline, and goes on
// by itself when they are there.
func TestGateWithoutData(t *testing.T) {
	t.Parallel()
	m := newMeter(t)
	m.dead = true
	f := newFleet(t, spec{regions: one("a1", "a2", "a3"), config: m.sources})
	d := f.drive()
	v1 := f.publish(d, site(edge, "1", "a", "b"))
	f.begin(d, controller.StartRequest{App: edge, Version: "1", Plan: gated(canary([]wire.Region{ams}), errorRate())})

	h := f.waits(d, ams, rollout.HoldGate, "prometheus main gives no answer: query: it answers 503 Service Unavailable")
	if in := h.Deadline.Sub(h.Since); in != 20*time.Second {
		t.Errorf("the hold has a deadline in %s, want that of the plan", in)
	}
	m.set(func(m *meter) { m.dead, m.requests = false, 3 })
	f.waits(d, ams, rollout.HoldGate, "prometheus main has 3 samples, at least 100 are wanted, for the agents that switched")
	if r := f.last(d); r.Status != rollout.StatusHolding || f.line.last(confirmed(edge, ams, 1)) != f.line.first(confirmed(edge, ams, 1)) {
		t.Errorf("the rollout is %s, or more than the canary switched", r.Status)
	}
	m.set(func(m *meter) { m.requests = 1000 })
	f.ends(d, v1, "done")
	f.explains(d, "unhold")
}

// source is a gate source that is a function.
type source func(ctx context.Context, m rollout.Measure) (rollout.Measured, error)

func (s source) Read(ctx context.Context, m rollout.Measure) (rollout.Measured, error) {
	return s(ctx, m)
}

// A webhook that says wait is asked again; fail takes the wave back with its reason. A plan
// whose source the configuration has lost meanwhile holds.
func TestGateWebhook(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards verdict
	verdict := rollout.Measured{Verdict: rollout.VerdictNone, Reason: "still counting"}
	say := func(m rollout.Measured) {
		mu.Lock()
		defer mu.Unlock()
		verdict = m
	}
	judge := source(func(_ context.Context, m rollout.Measure) (rollout.Measured, error) {
		if m.App != edge || m.Region != ams || m.Epoch == 0 || m.Rollout == "" || len(m.Cohort) == 0 {
			return rollout.Measured{}, errors.New("asked about nothing")
		}
		mu.Lock()
		defer mu.Unlock()
		return verdict, nil
	})
	with := func(cfg *controller.Config) { cfg.Gates.Webhooks = map[string]controller.GateSource{"judge": judge} }
	f := newFleet(t, spec{regions: one("a1", "a2"), config: with})
	d := f.drive()
	v1, v2 := f.publish(d, site(edge, "1", "a", "b")), f.publish(d, site(edge, "2", "a2", "b"))
	asks := rollout.Gate{Name: "judged", Webhook: "judge", Interval: wire.Duration(time.Second), Failures: 1}
	f.begin(d, controller.StartRequest{App: edge, Version: "1", Plan: gated(canary([]wire.Region{ams}), asks)})
	f.waits(d, ams, rollout.HoldGate, "webhook judge does not say pass or fail: still counting")

	f.spec.config = nil
	f.justRead(d)
	d = f.bounce(d, f.dir, func() {})
	f.waits(d, ams, rollout.HoldGate, "webhook judge gives no answer: the controller's configuration does not have it any more")
	f.spec.config = with
	f.justRead(d)
	d = f.bounce(d, f.dir, func() { say(rollout.Measured{Verdict: rollout.VerdictPass}) })
	f.ends(d, v1, "done")

	say(rollout.Measured{Verdict: rollout.VerdictFail, Reason: "three alerts are firing"})
	f.roll(d, v2, gated(canary([]wire.Region{ams}), asks), "reverted")
	f.explains(d, "revert", "gate judged of ams: webhook judge says fail: three alerts are firing")
}

// justRead waits for a moment at which no reading is under way: one that a controller leaves
// behind is asked for again after half a minute only.
func (f *fleet) justRead(d *driver) {
	f.t.Helper()
	eventually(f.t, func() error {
		v, err := d.App(f.t.Context(), edge)
		must(f.t, err)
		if rd := v.Summary.Regions[0].Readings[0]; rd.Answered < rd.Round || time.Since(rd.Asked) > 500*time.Millisecond {
			return errors.New("a reading is under way, or about to be")
		}
		return nil
	})
}

// A gate that asks nobody the controller knows is refused before anything begins.
func TestGateSourceUnknown(t *testing.T) {
	t.Parallel()
	m := newMeter(t)
	f := newFleet(t, spec{regions: one("a1"), config: m.sources})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	elsewhere, hook := errorRate(), rollout.Gate{Name: "judged", Webhook: "judge", Interval: wire.Duration(time.Second), Failures: 1}
	elsewhere.Name, elsewhere.Prometheus = "other", "elsewhere"
	for want, g := range map[string]rollout.Gate{
		`plan: gates[1].prometheus: is "elsewhere", which the controller's configuration does not have; it has main`: elsewhere,
		`plan: gates[1].webhook: is "judge", but the controller's configuration has none`:                            hook,
	} {
		req := controller.StartRequest{App: edge, Version: "1", Plan: gated(canary([]wire.Region{ams}), errorRate(), g)}
		_, planned := d.Plan(t.Context(), req)
		_, started := d.Start(t.Context(), req, "op")
		for what, err := range map[string]error{"plan": planned, "start": started} {
			wantErr(t, what, err, controller.ErrInvalid)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
	}
}

// Readings of one source wait for each other, and not for ever; those of others do not.
func TestReadingsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r controller.Readings
		ctx := t.Context()
		var done []func()
		for range controller.MaxReadings {
			d, err := r.Turn(ctx, "slow")
			must(t, err)
			done = append(done, d)
		}
		began := time.Now()
		if _, err := r.Turn(ctx, "slow"); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("one reading too many: %v after %s, want an error after 10s", err, time.Since(began))
		}
		if _, err := r.Turn(ctx, "quick"); err != nil {
			t.Errorf("the turn at another source: %v", err)
		}
		time.AfterFunc(time.Second, done[0])
		if _, err := r.Turn(ctx, "slow"); err != nil {
			t.Errorf("the next turn: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err := r.Turn(ended, "slow")
		wantErr(t, "a turn that nobody waits for", err, context.Canceled)
	})
}
