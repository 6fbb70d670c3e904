package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// setBack lets the bus die and come back with what it had when keep was called.
func (f *fleet) setBack(keep func()) {
	f.bus.Down()
	keep()
	f.bus.Up()
}

// A bus that has lost its last writes and not the lease is given them again before any
// order that is made after. The witness holds every order against what the bus has.
func TestOrdersFollowTheirRecords(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), apps: map[wire.AgentID][]wire.App{"a1": {edge, waf}}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	f.publish(d, site(waf, "1", "a", "b"))
	next := f.publish(d, site(edge, "2", "c", "b"))
	d.settles()
	keep := f.bus.Keep()
	f.roll(d, next, plan([]wire.Region{ams}), "done")
	d.settles()
	f.setBack(keep)
	eventually(t, func() error {
		_, err := d.Start(t.Context(), controller.StartRequest{App: waf, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
		return err
	})
	eventually(t, func() error {
		if f.line.first(ordered(waf, ams, 1, "activate")) < 0 {
			return errors.New("nothing was ordered")
		}
		return nil
	})
	if !strings.Contains(d.log.String(), "the bus has lost what it had acknowledged") {
		t.Error("the loss was not found")
	}
	f.holds(d, edge, map[wire.Region]controller.Held{ams: {Version: "2", Epoch: 2}})
}

// A bus that is set back gives the number of a fence out again, to another controller.
// Whoever had it before asks who holds it, and writes nothing.
func TestAFenceGivenOutTwice(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	keep := f.bus.Keep()
	d := f.launch("main", f.dir)
	d.leads()
	raw := f.bus.Controller("usurper")
	_, before, err := raw.Lease(t.Context())
	must(t, err)
	f.bus.DisconnectController("main")
	f.setBack(keep)
	after, err := raw.TakeLease(t.Context(), "usurper", 0)
	must(t, err)
	if before != after {
		t.Fatalf("the fence was %d and is %d", before, after)
	}
	_, err = d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a1", Key: newKey(t).Public()}, "op")
	must(t, err)
	f.bus.ReconnectController("main")
	d.deposed()
	journal, err := raw.Journal(t.Context())
	must(t, err)
	if len(journal) > 0 {
		t.Errorf("under the fence of another controller it has written %v", wire.Keys(journal))
	}
}

// forgetful loses the answer to the taking of a lease.
type forgetful struct {
	wire.ControllerBus
	armed atomic.Bool
}

func (b *forgetful) TakeLease(ctx context.Context, holder string, seen wire.Fence) (wire.Fence, error) {
	f, err := b.ControllerBus.TakeLease(ctx, holder, seen)
	if err == nil && b.armed.CompareAndSwap(true, false) {
		return 0, fmt.Errorf("the answer was lost: %w", wire.ErrDisconnected)
	}
	return f, err
}

// A leader that takes a lost lease again, and never hears that it has it, is not deposed
// by itself.
func TestALeaseTakenUnawares(t *testing.T) {
	t.Parallel()
	b := &forgetful{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) { b.ControllerBus = c.Bus; c.Bus = b }})
	keep := f.bus.Keep()
	d := f.drive()
	b.armed.Store(true)
	f.bus.DisconnectController("main")
	f.setBack(keep)
	raw := f.bus.Controller("other")
	for i := range 100 { // the lease that is taken again has a higher number
		blob := fmt.Append(nil, i)
		must(t, raw.PutBlob(t.Context(), wire.DigestOf(blob), blob))
	}
	f.bus.ReconnectController("main")
	eventually(t, func() error {
		if b.armed.Load() {
			return errors.New("the lease was not taken again")
		}
		return nil
	})
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
}

// pruning calls a function between two reads of the journal.
type pruning struct {
	wire.ControllerBus
	between atomic.Pointer[func()]
}

func (b *pruning) Journal(ctx context.Context) (map[string][]byte, error) {
	if f := b.between.Swap(nil); f != nil {
		(*f)()
	}
	return b.ControllerBus.Journal(ctx)
}

// What the controller itself deletes while it looks for losses is none.
func TestWhatIsDeletedIsNotLost(t *testing.T) {
	t.Parallel()
	b := &pruning{}
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		b.ControllerBus = c.Bus
		*c = controller.WithLosses(*c, 50*time.Millisecond)
		c.Bus = b
	}})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	var started []string
	start := func() error {
		v, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
		if err == nil {
			started = append(started, v.Rollout.ID)
		}
		return err
	}
	for range controller.KeptHistory + 1 {
		must(t, start())
		_, err := d.Command(t.Context(), edge, "abort", rollout.Of{}, "op")
		must(t, err)
		eventually(t, func() error {
			v, err := d.App(t.Context(), edge)
			if err == nil && !v.Rollout.Status.Ended() {
				err = errors.New("the rollout goes on")
			}
			return err
		})
	}
	pruned := make(chan error, 1)
	prune := func() {
		err := start()
		for gone := false; err == nil && !gone && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			now, failed := f.bus.Controller("reader").Journal(t.Context())
			err, gone = failed, now[controller.HistoryKey(edge, started[0])] == nil
		}
		pruned <- err
	}
	b.between.Store(&prune)
	must(t, <-pruned)
	for range 3 { // the look that met the deletion, and what may have followed from it, is over
		again := make(chan struct{})
		next := func() { close(again) }
		b.between.Store(&next)
		<-again
	}
	if strings.Contains(d.log.String(), "the bus has lost what it had acknowledged") {
		t.Error("a loss was found that was none")
	}
}

// A leader that takes its lost lease again does not overwrite what another one has decided
// meanwhile: its term ends, and the next one begins with that.
func TestAnotherOneLedMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	keep := f.bus.Keep()
	d := f.launch("main", f.dir)
	d.leads()
	f.publish(d, site(edge, "1", "a", "b"))
	_, err := d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a1", Key: newKey(t).Public()}, "op")
	must(t, err)
	key := controller.AgentKey(ams, "a1")
	raw := f.bus.Controller("saboteur")
	eventually(t, func() error {
		journal, err := raw.Journal(t.Context())
		if err == nil && journal[key] == nil {
			err = errors.New("the agent is not on the bus")
		}
		return err
	})
	holder, _, err := raw.Lease(t.Context())
	must(t, err)
	f.bus.DisconnectController("main")
	f.setBack(keep)
	fence, err := raw.TakeLease(t.Context(), holder, 0)
	must(t, err)
	theirs, err := controller.EncodeRecord(1000, 1, `{"agent":"a1","region":"ams"}`)
	must(t, err)
	must(t, raw.PutJournal(t.Context(), fence, key, theirs))
	f.bus.ReconnectController("main")
	d.deposed()
	journal, err := raw.Journal(t.Context())
	must(t, err)
	if string(journal[key]) != string(theirs) {
		t.Errorf("what another controller wrote is now %s", journal[key])
	}
}

// When the record that counts orders nothing, the region is told so: the document on the bus
// may still order what nobody purges for.
func TestNothingIsOrdered(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	d.settles()
	raw := f.bus.Controller("saboteur")
	apps := func() int {
		envelope, err := raw.Want(t.Context(), ams)
		must(t, err)
		w, err := f.trust.OpenDesired(envelope, ams)
		must(t, err)
		return len(w.Apps)
	}
	if apps() != 1 {
		t.Fatalf("%d apps are ordered", apps())
	}
	f.bounce(d, f.dir, func() {
		_, fence, err := raw.Lease(t.Context())
		must(t, err)
		v, err := controller.EncodeRecord(1000, 1, `{"app":"edge"}`)
		must(t, err)
		must(t, raw.PutJournal(t.Context(), fence, controller.AppKey(edge), v))
	})
	eventually(t, func() error {
		if n := apps(); n != 0 {
			return fmt.Errorf("%d apps are ordered, and the record says none", n)
		}
		return nil
	})
}

// A purge leaves only while the bus has said lately that this controller leads.
func TestAPurgeAsksWhoLeads(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	info := f.publish(d, site(edge, "1", "a", "b"))
	f.agents["a1"].behave(behaviour{silent: true})
	_, err := d.Start(t.Context(), controller.StartRequest{App: info.App, Version: info.Version, Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	d.witness.blind.Store(true)
	eventually(t, func() error {
		if _, err := d.Command(t.Context(), edge, "no such command", rollout.Of{}, "op"); !errors.Is(err, controller.ErrStandby) {
			return fmt.Errorf("a command that nobody may take: %v", err)
		}
		return nil
	})
	f.agents["a1"].behave(behaviour{})
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "an effect failed") {
			return errors.New("no purge was put off")
		}
		return nil
	})
	if purges := f.line.purgesBetween(ams, -1, -1); len(purges) > 0 {
		t.Errorf("purged although nobody knows who leads: %v", purges)
	}
	d.witness.blind.Store(false)
	f.ends(d, info, rollout.StatusDone)
}
