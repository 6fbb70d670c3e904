package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/wire"
)

// journal keeps every record of a controller under a key, in bbolt first and on the bus
// after. Keys are subjects below eg.journal.: "app.<app>", "agent.<region>.<agent>",
// "bundle.<digest, shortened>", "want.<region>", "history.<app>.<rollout>".
type journal struct {
	db  *bolt.DB
	log *slog.Logger

	mu    sync.Mutex     // guards all below, and commits
	by    string         // who writes: the controller's id
	fence wire.Fence     // of the lease: proves to the bus that we lead
	term  wire.Fence     // the fence, or above every record's where the bus has begun anew; stamped on each record
	dirty map[string]int // key that is not known to be on the bus as it is here → how often it was marked
}

// record is one value with what decides between two copies of it.
type record struct {
	Fence    wire.Fence      `json:"fence"`          // the term in which it was written
	Revision uint64          `json:"revision"`       // ascending within a key
	By       string          `json:"by,omitempty"`   // the id of the controller that wrote it
	After    place           `json:"after,omitzero"` // of the record that it followed when its term began
	Data     json.RawMessage `json:"data"`
}

// place is where a record stands among those of its key.
type place struct {
	Fence    wire.Fence `json:"fence"`
	Revision uint64     `json:"revision"`
}

func (r record) place() place { return place{r.Fence, r.Revision} }

func (p place) newer(than place) bool {
	return p.Fence > than.Fence || p.Fence == than.Fence && p.Revision > than.Revision
}

// replaces reports whether r, on the bus, takes the place of ours: it is newer, or another
// controller went on from before ours after the bus had lost that. Terms alone would let
// a branch that the bus had lost win over what was decided and followed since.
func (r record) replaces(ours record) bool {
	if r.Fence == ours.Fence && r.By == ours.By {
		return r.place().newer(ours.place())
	}
	return r.place().newer(ours.After)
}

// without reports whether r says something else than ours and went on from before it, so
// that ours is lost where r takes its place.
func (r record) without(ours record) bool {
	went := r.Fence == ours.Fence && r.By == ours.By
	return !went && ours.place().newer(r.After) && !bytes.Equal(r.Data, ours.Data)
}

// replaced are the records that theirs take the place of [record.without] them, by key.
type replaced map[string]AuditEntry

func (l replaced) add(key string, theirs, ours record, encoded []byte) {
	if theirs.without(ours) {
		l[key] = AuditEntry{At: time.Now().UTC(), By: "controller", Kind: "replaced", Inputs: slices.Clone(encoded),
			Text: fmt.Sprintf("%s of term %d, revision %d, which only this controller had, was replaced by another controller's of term %d, revision %d", key, ours.Fence, ours.Revision, theirs.Fence, theirs.Revision)}
	}
}

// keep puts them into the audit log.
func (l replaced) keep(tx *bolt.Tx) error {
	var entries []AuditEntry
	for _, key := range slices.Sorted(maps.Keys(l)) {
		entries = append(entries, l[key])
	}
	return appendAudit(tx, entries)
}

func (l replaced) tell(log *slog.Logger) {
	if len(l) > 0 {
		log.Warn("another controller went on without what only this one had decided; the audit log keeps it", "keys", slices.Sorted(maps.Keys(l)))
	}
}

func newJournal(db *bolt.DB, log *slog.Logger) *journal {
	return &journal{db: db, log: log, dirty: make(map[string]int)}
}

// load returns every live value by key.
func (j *journal) load() (map[string][]byte, error) {
	all := make(map[string][]byte)
	return all, j.each(func(key string, r record) { all[key] = r.Data })
}

// write is one transaction under construction: values to put, keys to delete and entries
// to append to the audit log. What is deleted must never be written again: a copy that
// turns up later would win over the new one.
type write struct {
	put    map[string]any
	delete []string
	audit  []AuditEntry
}

// commit makes w durable; it has happened once commit returns. What was put is marked
// for publication.
func (j *journal) commit(w *write) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketJournal)
		for _, key := range slices.Sorted(maps.Keys(w.put)) {
			var old record
			if v := b.Get([]byte(key)); v != nil {
				if err := json.Unmarshal(v, &old); err != nil {
					return fmt.Errorf("journal record %s: %w", key, err)
				}
			}
			data, err := wire.EncodeJSON(w.put[key])
			if err != nil {
				return fmt.Errorf("journal record %s: %w", key, err)
			}
			next := record{Fence: j.term, Revision: old.Revision + 1, By: j.by, After: old.After, Data: data}
			if old.Fence != j.term || old.By != j.by {
				next.After = old.place()
			}
			v, err := wire.EncodeJSON(next)
			if err != nil {
				return err
			}
			if err := b.Put([]byte(key), v); err != nil {
				return err
			}
		}
		for _, key := range w.delete {
			if err := b.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return appendAudit(tx, w.audit)
	})
	if err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	for key := range w.put {
		j.dirty[key]++
	}
	for _, key := range w.delete {
		j.dirty[key]++
	}
	return nil
}

// publish copies everything that is marked to the bus, in order of key. What fails stays
// marked.
func (j *journal) publish(ctx context.Context, bus wire.ControllerBus) error {
	j.mu.Lock()
	keys, fence := slices.Sorted(maps.Keys(j.dirty)), j.fence
	j.mu.Unlock()
	for _, key := range keys {
		j.mu.Lock()
		marked := j.dirty[key]
		j.mu.Unlock()
		v, err := j.raw(key)
		switch {
		case err != nil:
		case v == nil:
			err = bus.DeleteJournal(ctx, fence, key)
		default:
			err = bus.PutJournal(ctx, fence, key, packed(v))
		}
		if err != nil {
			return fmt.Errorf("cannot publish journal record %s: %w", key, err)
		}
		j.mu.Lock()
		if j.dirty[key] == marked { // else a commit came in between
			delete(j.dirty, key)
		}
		j.mu.Unlock()
	}
	return nil
}

// lease returns the fence of the lease that this controller took last.
func (j *journal) lease() wire.Fence {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fence
}

// each calls f with every record that is kept here.
func (j *journal) each(f func(key string, r record)) error {
	return j.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketJournal).ForEach(func(k, v []byte) error {
			var r record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("journal record %s: %w", k, err)
			}
			f(string(k), r)
			return nil
		})
	})
}

func (j *journal) raw(key string) (v []byte, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		v = slices.Clone(tx.Bucket(bucketJournal).Get([]byte(key)))
		return nil
	})
	return v, err
}

// reconcile begins a term: of every record the copy that counts, here or on the bus, is kept,
// and whatever the bus lacks is marked for publication. Records are then written under
// the new term as they change. A bus that lost everything counts its fences from one
// again; terms go on rising all the same, so that no copy of old wins over a new one.
func (j *journal) reconcile(ctx context.Context, bus wire.ControllerBus, fence wire.Fence) error {
	remote, err := bus.Journal(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the journal from the bus: %w", err)
	}
	unpack(remote)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fence, j.term = fence, fence
	lost := make(replaced)
	err = j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketJournal)
		err := b.ForEach(func(k, v []byte) error {
			var r record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("journal record %s: %w", k, err)
			}
			j.rise(r)
			if _, there := remote[string(k)]; !there {
				j.dirty[string(k)]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(remote)) {
			var theirs, ours record
			if err := json.Unmarshal(remote[key], &theirs); err != nil {
				j.log.Warn("a journal record on the bus cannot be read; ours is kept", "key", key, "error", err)
				if b.Get([]byte(key)) != nil {
					j.dirty[key]++
				}
				continue
			}
			j.rise(theirs)
			v := b.Get([]byte(key))
			if v != nil {
				if err := json.Unmarshal(v, &ours); err != nil {
					return fmt.Errorf("journal record %s: %w", key, err)
				}
			}
			switch {
			case theirs.replaces(ours):
				lost.add(key, theirs, ours, v)
				if err := b.Put([]byte(key), remote[key]); err != nil {
					return err
				}
			case ours.place().newer(theirs.place()):
				j.dirty[key]++
			}
		}
		return lost.keep(tx)
	})
	if err == nil {
		lost.tell(j.log)
	}
	return err
}

// follow copies the records that are newer on the bus than here, for a standby: when both
// the leader and the bus are lost, it has what they had. What the bus has deleted is kept
// until a term begins. It reports whether there was any, and from where to go on.
func (j *journal) follow(ctx context.Context, bus wire.ControllerBus, since uint64) (some bool, next uint64, err error) {
	remote, next, err := bus.JournalSince(ctx, since)
	if err != nil {
		return false, since, fmt.Errorf("cannot read the journal from the bus: %w", err)
	}
	unpack(remote)
	newer, lost := make(map[string][]byte), make(replaced)
	err = j.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketJournal)
		for key, v := range remote {
			var theirs, ours record
			if json.Unmarshal(v, &theirs) != nil {
				continue // reconcile complains about it
			}
			own := b.Get([]byte(key))
			if own != nil {
				if err := json.Unmarshal(own, &ours); err != nil {
					return fmt.Errorf("journal record %s: %w", key, err)
				}
			}
			if theirs.replaces(ours) {
				newer[key] = v
				lost.add(key, theirs, ours, own)
			}
		}
		return nil
	})
	if err != nil || len(newer) == 0 {
		return false, next, err
	}
	err = j.db.Update(func(tx *bolt.Tx) error {
		for _, key := range slices.Sorted(maps.Keys(newer)) {
			if err := tx.Bucket(bucketJournal).Put([]byte(key), newer[key]); err != nil {
				return err
			}
		}
		return lost.keep(tx)
	})
	if err != nil {
		return true, since, err
	}
	lost.tell(j.log)
	return true, next, nil
}

// rise lifts the term above that of a record of an earlier one. The caller holds mu.
func (j *journal) rise(r record) {
	if r.Fence >= j.term {
		j.term = r.Fence + 1
	}
}

// self returns the controller's own name, made once: it tells a restart of the leader,
// which may go on at once, from another controller, which has to wait.
func (j *journal) self(make func() string) (name string, err error) {
	err = j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSelf)
		if v := b.Get([]byte("name")); v != nil {
			name = string(v)
			return nil
		}
		name = make()
		return b.Put([]byte("name"), []byte(name))
	})
	return name, err
}
