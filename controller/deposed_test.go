package controller_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// usurp takes the lease away from whoever has it.
func (f *fleet) usurp() {
	f.t.Helper()
	raw := f.bus.Controller("usurper")
	_, fence, err := raw.Lease(f.t.Context())
	must(f.t, err)
	_, err = raw.TakeLease(f.t.Context(), "usurper", fence)
	must(f.t, err)
}

// deposed checks that the controller ends because another one leads.
func (d *driver) deposed() {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatal("a deposed leader goes on")
	}
	wantErr(d.t, "the end of the deposed leader", d.err, controller.ErrDeposed)
	if d.Leading() {
		d.t.Error("the deposed leader says that it leads")
	}
}

// A leader with nothing to write sees by the lease that another one leads.
func TestDeposedAtRest(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.launch("main", f.dir)
	d.leads()
	f.usurp()
	d.deposed()
}

// A leader whose write is refused looks at the lease, and ends its term by that alone: a
// bus that goes down refuses, too. Nobody is told of what was refused.
func TestDeposedByAWrite(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.launch("main", f.dir)
	d.leads()
	events, err := d.Events(t.Context(), 0)
	must(t, err)
	_, err = d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a0", Key: newKey(t).Public()}, "op")
	must(t, err)
	if e := <-events; !strings.Contains(e.Text, "a0") {
		t.Errorf("told first: %s", e.Text)
	}
	d.witness.blind.Store(true)
	f.usurp()
	_, err = d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a1", Key: newKey(t).Public()}, "op")
	must(t, err)
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "no longer the leader") {
			return errors.New("no write was refused")
		}
		return nil
	})
	select {
	case <-d.ended:
		t.Fatalf("the term ended without a look at the lease: %v", d.err)
	default:
	}
	d.witness.blind.Store(false)
	d.deposed()
	must(t, d.Close()) // ends the events
	for e := range events {
		t.Errorf("told although its record was refused: %s", e.Text)
	}
	wantErr(t, "its write", d.witness.PutJournal(t.Context(), 1, controller.AppKey(edge), []byte("{}")), wire.ErrFenced)
}

// What needs no record is not told either while the bus does not say who leads.
func TestNothingIsToldInDoubt(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one()})
	d := f.launch("main", f.dir)
	d.leads()
	events, err := d.Events(t.Context(), 0)
	must(t, err)
	d.witness.blind.Store(true)
	eventually(t, func() error {
		if d.Sure() == nil {
			return errors.New("the leader is sure of itself")
		}
		return nil
	})
	d.Emit(controller.Event{Kind: "purge", Text: "purge verified"})
	select {
	case e := <-events:
		t.Errorf("told in doubt: %s", e.Text)
	case <-time.After(300 * time.Millisecond):
	}
	d.witness.blind.Store(false)
	select {
	case <-events:
	case <-time.After(patience):
		t.Error("not told at all")
	}
}
