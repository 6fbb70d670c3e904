package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// load reads every record. One that is damaged stays in the database, and its purge is lost
// unless it is submitted again, which nobody but a person may know: the log has to be loud.
// One of another version is an error, since all may be, and all purges lost.
func (o *Outbox) load(log *slog.Logger) error {
	err := o.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(o.bucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(k, v []byte) error {
			e, err := decodeEntry(ID(k), v)
			if errors.Is(err, errRecord) {
				log.Error("a record of the purge outbox is damaged and passed over: what it was to purge may be stale, purge it by hand", "error", err)
				return nil
			}
			if err != nil {
				return err
			}
			o.entries[e.ID] = e
			if e.Open() {
				o.open[e.ID] = true
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("cannot load the outbox: %w", err)
	}
	return nil
}

// storeAndUnlock makes new states durable in one transaction, then visible.
// It is called with o.mu held and releases it before telling anyone.
func (o *Outbox) storeAndUnlock(updates []Entry) error {
	if len(updates) == 0 {
		o.mu.Unlock()
		return nil
	}
	slices.SortFunc(updates, func(a, b Entry) int { return strings.Compare(string(a.ID), string(b.ID)) })
	err := o.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(o.bucket)
		for _, e := range updates {
			data, err := encodeEntry(e)
			if err != nil {
				return err
			}
			if err := b.Put([]byte(e.ID), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.mu.Unlock()
		return fmt.Errorf("cannot write the outbox: %w", err)
	}
	for _, e := range updates {
		o.entries[e.ID] = e
		if e.Open() {
			o.open[e.ID] = true
		} else {
			delete(o.open, e.ID)
		}
	}
	o.broadcastLocked()
	o.mu.Unlock()
	if o.onChange != nil {
		for _, e := range updates {
			o.onChange(e)
		}
	}
	return nil
}

func (o *Outbox) broadcastLocked() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// change edits entries in one transaction. Those that edit leaves in their
// state are not written.
func (o *Outbox) change(ctx context.Context, ids []ID, edit func(*Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	var updates []Entry
	for _, id := range ids {
		e, ok := o.entries[id]
		if !ok {
			o.mu.Unlock()
			return fmt.Errorf("cannot change %s: %w", id, ErrNoItem)
		}
		before := e.State
		if err := edit(&e); err != nil {
			o.mu.Unlock()
			return err
		}
		if e.State != before {
			updates = append(updates, e)
		}
	}
	return o.storeAndUnlock(updates)
}

// Prune forgets the items of an app and region with epochs below the given
// one, unless they are open or an open item waits for them. It returns how
// many. Submitting a pruned item again would purge again.
func (o *Outbox) Prune(app, region string, below uint64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	needed := map[ID]bool{}
	for id := range o.open {
		needed[o.entries[id].Item.After] = true
	}
	var gone []ID
	for id, e := range o.entries {
		if e.Item.App == app && e.Item.Region == region && e.Item.Epoch < below && !e.Open() && !needed[id] {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	slices.Sort(gone)
	err := o.db.Update(func(tx *bbolt.Tx) error {
		for _, id := range gone {
			if err := tx.Bucket(o.bucket).Delete([]byte(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot prune the outbox: %w", err)
	}
	for _, id := range gone {
		delete(o.entries, id)
	}
	o.broadcastLocked()
	return len(gone), nil
}
