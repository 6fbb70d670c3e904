package natsbus_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// A server that has lost its streams gives out no fence a second time: the first leader,
// paused meanwhile, still cannot write. Streams that are there stay as they are.
func TestFenceAfterLoss(t *testing.T) {
	e := start(t)
	old, next := controller(t, e.s.Keys(), "old", e.url), controller(t, e.s.Keys(), "next", e.url)
	must(t, old.Setup(t.Context(), 1))
	before, err := old.TakeLease(t.Context(), "old", 0)
	must(t, err)
	must(t, old.PutJournal(t.Context(), before, "app.edge", []byte("{}")))

	e.Down(t)
	must(t, os.RemoveAll(filepath.Join(e.cfg.Dir, "jetstream")))
	e.Up(t)
	must(t, next.Setup(t.Context(), 1))
	after, err := next.TakeLease(t.Context(), "next", 0)
	must(t, err)
	if after <= before {
		t.Errorf("the fence after the loss is %d, want more than %d", after, before)
	}
	if err := old.PutJournal(t.Context(), before, "app.edge", []byte("{}")); !errors.Is(err, wire.ErrFenced) {
		t.Errorf("a write of the old leader: %v, want %v", err, wire.ErrFenced)
	}
	must(t, next.PutJournal(t.Context(), after, "app.edge", []byte("{}")))

	must(t, next.Setup(t.Context(), 1)) // the clock has moved on
	e.Down(t)
	e.Up(t)
	if kept, err := next.Journal(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("after another set-up the journal has %d records, %v, want 1", len(kept), err)
	}
}
