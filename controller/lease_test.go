package controller_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// impatient makes a standby take over after 3 s.
func impatient(c *controller.Config) { *c = controller.WithSilence(*c, 3*time.Second) }

// Of two controllers on one bus the second stands by, takes over when the first falls
// silent, and the first one's next write is refused.
func TestLease(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: impatient})
	first := f.drive()
	f.roll(first, f.publish(first, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	second := f.launch("second", t.TempDir())
	eventually(t, func() error {
		if !strings.Contains(second.log.String(), "standing by") {
			return errors.New("does not stand by")
		}
		return nil
	})
	_, err := second.Apps(t.Context())
	wantErr(t, "a request to the standby", err, controller.ErrStandby)

	first.settles()
	f.bus.DisconnectController("main")
	second.leads()
	f.holds(second, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 1}})
	f.publish(second, site(edge, "2", "a2", "b"))
	if !first.Leading() {
		t.Fatal("the first controller has noticed without a bus")
	}
	// The first knows nothing yet, but soon promises nothing any more; it still tells what it knows.
	eventually(t, func() error {
		_, err := first.Command(t.Context(), edge, "pause", rollout.Of{}, "op")
		if !errors.Is(err, controller.ErrStandby) {
			return fmt.Errorf("a command without a bus: %v", err)
		}
		if want := "cannot confirm that this controller still leads: the bus has not answered for 6s"; !strings.HasSuffix(err.Error(), want) {
			t.Errorf("refused with %q, want %q", err, want)
		}
		return nil
	})
	wantErr(t, "readiness without a bus", first.Sure(), controller.ErrStandby)
	_, err = first.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	wantErr(t, "a start without a bus", err, controller.ErrStandby)
	wantErr(t, "a drain without a bus", first.Drain(t.Context(), ams, "a1", true, "op"), controller.ErrStandby)
	wantErr(t, "a removal without a bus", first.Remove(t.Context(), ams, "a1", "op"), controller.ErrStandby)
	_, err = first.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a7", Key: newKey(t).Public()}, "op")
	wantErr(t, "an enrolment without a bus", err, controller.ErrStandby)
	_, err = first.RunPurge(t.Context(), controller.PurgeRequest{Region: ams, Selectors: []string{"key:a"}}, "op")
	wantErr(t, "a purge without a bus", err, controller.ErrStandby)
	stale, err := first.App(t.Context(), edge)
	must(t, err)
	if want := "the bus has not answered since "; !strings.HasPrefix(stale.Doubt, want) || !has(stale.Explain, "now: "+want) {
		t.Errorf("without a bus the view has the doubt %q and explains %q", stale.Doubt, stale.Explain)
	}
	sure, err := second.App(t.Context(), edge)
	must(t, err)
	if sure.Doubt != "" {
		t.Errorf("the leader doubts: %s", sure.Doubt)
	}
	f.bus.ReconnectController("main")
	<-first.ended
	wantErr(t, "the end of the first", first.err, controller.ErrDeposed)
	_, err = first.Apps(t.Context())
	wantErr(t, "a request to the first", err, controller.ErrStandby)
	wantErr(t, "a write of the first", first.witness.PutJournal(t.Context(), 1, controller.AppKey(edge), []byte("{}")), wire.ErrFenced)

	info := f.publish(second, site(edge, "3", "a3", "b"))
	f.roll(second, info, plan([]wire.Region{ams}), "done")
	f.holds(second, edge, map[wire.Region]controller.Held{ams: {Version: "3", Epoch: 2}})
	f.forward()
	f.auditHolds(second)
}

// A leader that was cut off when it looked whether it leads does not wait for the next beat.
func TestReturnIsNoticed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	confirmed := d.Confirmed()
	confirmedAgain := func() error {
		if d.Confirmed().Equal(confirmed) {
			return errors.New("the lease has not been confirmed again")
		}
		return nil
	}
	eventually(t, confirmedAgain)
	f.bus.DisconnectController("main")
	confirmed = d.Confirmed()
	time.Sleep(time.Until(confirmed.Add(controller.LeaseBeat + controller.LeaseBeat/4))) // past the look that fails
	f.bus.ReconnectController("main")
	back := time.Now()
	eventually(t, confirmedAgain)
	if took := time.Since(back); took > controller.LeaseBeat/2 {
		t.Errorf("the lease was confirmed %v after the bus was back", took)
	}
}

// While the bus does not answer nobody is told to drain whoever is not heard of, nor after that as
// long as it may be the bus's doing.
func TestDoubtOutlastsTheOutage(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) { c.Lost = 4 * time.Second }})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	f.publish(d, site(edge, "2", "a2", "b"))
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	_, err = d.Command(t.Context(), edge, "pause", rollout.Of{}, "op")
	must(t, err)
	told := func(doubt, reason, advice string) {
		t.Helper()
		eventually(t, func() error {
			v, err := d.App(t.Context(), edge)
			must(t, err)
			r := v.Summary.Rollout
			silent := r.Hold != nil && r.Hold.Kind == rollout.HoldSilent
			if drain := strings.Contains(r.Reason+strings.Join(v.Explain, "\n"), "drain or remove"); drain && v.Doubt != "" || silent && !drain && v.Doubt == "" {
				t.Fatalf("doubt %q, because %q, advice to drain: %v", v.Doubt, r.Reason, drain)
			}
			if !strings.HasPrefix(v.Doubt, doubt) || doubt == "" && v.Doubt != "" || !strings.Contains(r.Reason, reason) || !strings.HasSuffix(r.Reason, advice) {
				return fmt.Errorf("doubt %q, because %q", v.Doubt, r.Reason)
			}
			return nil
		})
	}
	f.agents["a1"].behave(behaviour{silent: true})
	f.bus.DisconnectController("main")
	told("the bus has not answered since ", "left behind: a1", "a1")
	f.bus.ReconnectController("main")
	told("the bus answers this controller since ", "left behind: a1", "a1")
	told("", "left behind: a1", "; drain or remove what is gone for good")
	f.agents["a1"].behave(behaviour{})
	told("", "paused by op", "")
}

// bounce stops the controller, lets the disk or the bus change, and starts one over dir.
func (f *fleet) bounce(d *driver, dir string, between func()) *driver {
	f.t.Helper()
	must(f.t, d.stop())
	between()
	d = f.launch("main", dir)
	d.leads()
	return d
}

// settles waits until the bus knows what the controller knows of the app.
func (d *driver) settles() {
	d.t.Helper()
	eventually(d.t, func() error {
		v, err := d.App(d.t.Context(), edge)
		must(d.t, err)
		if is := d.witness.record(edge).Revision; is != v.Summary.Revision {
			return fmt.Errorf("the journal is at revision %d of %d", is, v.Summary.Revision)
		}
		return nil
	})
}

// After the loss of the disk the journal on the bus is enough, and orders go on above
// those that agents have seen.
func TestDiskWiped(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2"), config: impatient})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	d.settles()
	sequence := func() uint64 {
		envelope, err := f.bus.Controller("reader").Want(t.Context(), ams)
		must(t, err)
		w, err := f.trust.OpenDesired(envelope, ams)
		must(t, err)
		return w.Sequence
	}
	var before uint64
	d = f.bounce(d, t.TempDir(), func() {
		before = sequence()
		// The bus has lost the last state of the want's record, too.
		raw := f.bus.Controller("saboteur")
		journal, err := raw.Journal(t.Context())
		must(t, err)
		_, fence, err := raw.Lease(t.Context())
		must(t, err)
		if len(journal[controller.WantKey(ams)]) == 0 {
			t.Error("the bus does not have the record of the want")
		}
		must(t, raw.DeleteJournal(t.Context(), fence, controller.WantKey(ams)))
	})
	eventually(t, func() error { // signed anew, for the record of what was signed is gone
		if is := sequence(); is != before+1 {
			return fmt.Errorf("the want on the bus has sequence %d, want %d", is, before+1)
		}
		return nil
	})
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 1}})
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "2", Epoch: 2}})
	f.forward()
}

// After the loss of the bus everything is put there again from the disk.
func TestBusWiped(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	_, err := d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a1", Key: newKey(t).Public()}, "op")
	must(t, err)
	_, err = d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	ordered := func() (seq uint64) {
		eventually(t, func() error {
			envelope, err := f.bus.Controller("reader").Want(t.Context(), ams)
			if err != nil {
				return err
			}
			d, err := f.trust.OpenDesired(envelope, ams)
			must(t, err)
			seq = d.Sequence
			return nil
		})
		return seq
	}
	before := ordered()
	var old map[string][]byte
	d = f.bounce(d, f.dir, func() {
		old, err = f.bus.Controller("reader").Journal(t.Context())
		must(t, err)
		f.bus = newFleet(t, spec{}).bus
	})
	if after := ordered(); after != before {
		t.Errorf("the want on the new bus has sequence %d, had %d", after, before)
	}
	_, err = d.Command(t.Context(), edge, "pause", rollout.Of{}, "op")
	must(t, err)
	// Fences began anew; what is written now wins all the same over copies from before.
	eventually(t, func() error {
		now, err := f.bus.Controller("reader").Journal(t.Context())
		must(t, err)
		for key, v := range old {
			if now[key] == nil {
				return fmt.Errorf("%s is not on the new bus", key)
			}
			_, was, err := controller.RecordData(v)
			must(t, err)
			_, is, err := controller.RecordData(now[key])
			must(t, err)
			if is < was || key == controller.AppKey(edge) && is <= was {
				return fmt.Errorf("%s is of term %d, was of %d", key, is, was)
			}
		}
		return nil
	})
}

// Of two copies of a record the newer one is kept, wherever it is, and the one on the bus
// if another controller went on from before ours.
func TestReconcile(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	d.settles()
	put := func(term wire.Fence, revision uint64, change func(map[string]any)) func() {
		return func() {
			raw := f.bus.Controller("saboteur")
			journal, err := raw.Journal(t.Context())
			must(t, err)
			_, fence, err := raw.Lease(t.Context())
			must(t, err)
			data, _, err := controller.RecordData(journal[controller.AppKey(edge)])
			must(t, err)
			var m map[string]any
			must(t, json.Unmarshal(data, &m))
			change(m)
			data, err = json.Marshal(m)
			must(t, err)
			v, err := controller.EncodeRecord(term, revision, string(data))
			must(t, err)
			must(t, raw.PutJournal(t.Context(), fence, controller.AppKey(edge), v))
		}
	}
	by := func(name string) func(map[string]any) {
		return func(m map[string]any) { m["rollout"].(map[string]any)["by"] = name }
	}
	check := func(what, want string) {
		v, err := d.App(t.Context(), edge)
		must(t, err)
		if v.Rollout.By != want {
			t.Errorf("%s: the rollout is %s's, want %s's", what, v.Rollout.By, want)
		}
	}
	raw := f.bus.Controller("saboteur")
	before := func() []byte {
		journal, err := raw.Journal(t.Context())
		must(t, err)
		return journal[controller.AppKey(edge)]
	}
	paused := func(want bool) {
		t.Helper()
		v, err := d.App(t.Context(), edge)
		must(t, err)
		if v.Rollout.Paused != want {
			t.Errorf("the rollout is paused: %v, want %v", v.Rollout.Paused, want)
		}
	}
	old := before()
	_, term, err := controller.RecordData(old)
	must(t, err)
	_, err = d.Command(t.Context(), edge, "pause", rollout.Of{}, "op")
	must(t, err)
	d.settles()
	d = f.bounce(d, f.dir, func() { // the bus has lost the pause
		_, fence, err := raw.Lease(t.Context())
		must(t, err)
		must(t, raw.PutJournal(t.Context(), fence, controller.AppKey(edge), old))
	})
	paused(true)
	check("ours is newer", "op")
	_, err = d.Command(t.Context(), edge, "resume", rollout.Of{}, "op")
	must(t, err)
	d.settles()
	d = f.bounce(d, f.dir, put(term, 99, by("another one, from before ours")))
	check("the bus has lost ours, and another one led", "another one, from before ours")
	d = f.bounce(d, f.dir, put(1000, 1, by("newer term")))
	check("the bus is newer", "newer term")
	d = f.bounce(d, f.dir, func() {
		raw := f.bus.Controller("saboteur")
		_, fence, err := raw.Lease(t.Context())
		must(t, err)
		must(t, raw.PutJournal(t.Context(), fence, controller.AppKey(edge), []byte("not a record")))
	})
	check("the bus cannot be read", "newer term")

	must(t, d.stop())
	raw = f.bus.Controller("saboteur")
	_, fence, err := raw.Lease(t.Context())
	must(t, err)
	v, err := controller.EncodeRecord(2000, 1, `{}`)
	must(t, err)
	must(t, raw.PutJournal(t.Context(), fence, "future.thing", v))
	d = f.launch("main", f.dir)
	<-d.ended
	if d.err == nil || !strings.Contains(d.err.Error(), "future.thing") || !strings.Contains(d.err.Error(), "newer controller") {
		t.Errorf("with a record of an unknown kind Run returns %v", d.err)
	}
}
