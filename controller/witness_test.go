package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// witness is a bus that notes what is written and holds every order against the journal:
// what agents are told must be known to a successor already.
type witness struct {
	wire.ControllerBus
	trust *wire.Trust
	line  *timeline
	blind atomic.Bool // the lease cannot be read

	mu      sync.Mutex // guards all below
	journal map[string]json.RawMessage
	deleted []string
	broken  []string
}

func (w *witness) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

func (w *witness) complaints() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

func (w *witness) Lease(ctx context.Context) (string, wire.Fence, error) {
	if w.blind.Load() {
		return "", 0, wire.ErrDisconnected
	}
	return w.ControllerBus.Lease(ctx)
}

// Journal is read when a term begins: what it holds was put there by others.
func (w *witness) Journal(ctx context.Context) (map[string][]byte, error) {
	all, err := w.ControllerBus.Journal(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.journal) // the bus may have lost some
	for key, record := range all {
		w.journal[key], _, _ = controller.RecordData(record) // what cannot be read is the controller's to refuse
	}
	return all, nil
}

func (w *witness) PutJournal(ctx context.Context, f wire.Fence, key string, record []byte) error {
	err := w.ControllerBus.PutJournal(ctx, f, key, record)
	if err != nil {
		return err
	}
	data, _, err := controller.RecordData(record)
	if err != nil {
		w.complain("journal %s: %v", key, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal[key] = data
	return nil
}

func (w *witness) DeleteJournal(ctx context.Context, f wire.Fence, key string) error {
	w.mu.Lock()
	w.deleted = append(w.deleted, key)
	w.mu.Unlock()
	return w.ControllerBus.DeleteJournal(ctx, f, key)
}

func (w *witness) PutWant(ctx context.Context, f wire.Fence, r wire.Region, envelope []byte) error {
	d, err := w.trust.OpenDesired(envelope, r)
	if err != nil {
		w.complain("want of %s: %v", r, err)
		return err
	}
	if _, err := w.Journal(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	recorded, err := controller.WantEnvelope(w.journal[controller.WantKey(r)])
	w.mu.Unlock()
	known, bad := w.trust.OpenDesired(recorded, r)
	switch {
	case err != nil || bad != nil:
		w.complain("want %d of %s is not in the journal: %v, %v", d.Sequence, r, err, bad)
	case known.Sequence < d.Sequence, known.Sequence == d.Sequence && !bytes.Equal(recorded, envelope):
		w.complain("want %d of %s is ahead of the journal, which has %d", d.Sequence, r, known.Sequence)
	}
	for _, app := range wire.Keys(d.Apps) {
		o, known := d.Apps[app], w.record(app).Regions[r].LastEpoch
		if n := o.Next; n != nil && known < n.Epoch {
			w.complain("want %d of %s orders epoch %d of %s, the journal knows %d", d.Sequence, r, n.Epoch, app, known)
		}
		if b := o.Base; b != nil && known < b.Epoch {
			w.complain("want %d of %s stays at epoch %d of %s, the journal knows %d", d.Sequence, r, b.Epoch, app, known)
		}
	}
	err = w.ControllerBus.PutWant(ctx, f, r, envelope)
	if err == nil {
		for _, app := range wire.Keys(d.Apps) {
			m := moment{what: "ordered", app: app, region: r, detail: "base"}
			if n := d.Apps[app].Next; n != nil {
				m.epoch, m.detail = n.Epoch, string(n.Phase)
			} else {
				m.epoch = d.Apps[app].Base.Epoch
			}
			w.line.add(m)
		}
	}
	return err
}

func (w *witness) record(app wire.App) (r rollout.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if data := w.journal[controller.AppKey(app)]; data != nil {
		if err := json.Unmarshal(data, &r); err != nil {
			w.broken = append(w.broken, err.Error())
		}
	}
	return r
}

// purging holds a purge that has reached the provider against the journal. One that was
// asked for before the rollout turned back may still be on its way.
func (w *witness) purging(app wire.App, r wire.Region) {
	rec := w.record(app)
	if p := rec.Regions[r].Purge; p == nil && (rec.Rollout == nil || rec.Rollout.Ending == "") {
		w.complain("a purge of %s/%s is ahead of the journal", app, r)
	}
}
