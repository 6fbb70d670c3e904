package stage

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

// lockTime is how long Open waits for another process to let go of the database.
const lockTime = time.Second

// Buckets, and the keys of the agent's own.
var (
	bucketAgent     = []byte("agent")
	bucketApps      = []byte("apps")      // app → plan.State
	bucketManifests = []byte("manifests") // bundle → its manifest
	bucketPacks     = []byte("packs")     // pack → bucket of bundle, index and chunks
	bucketHashes    = []byte("hashes")    // chunk → pack and number

	buckets = [][]byte{bucketAgent, bucketApps, bucketManifests, bucketPacks, bucketHashes}

	keyIncarnation = []byte("incarnation")
	keyClean       = []byte("clean")
	keyDesired     = []byte("desired")
	keySequence    = []byte("sequence")
)

// Store is the agent's database. It is safe for concurrent use.
type Store struct{ db *bbolt.DB }

// Open opens the database at path, and makes it if there is none.
func Open(path string) (*Store, error) {
	if err := create(path); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", path, err)
	}
	db, err := open(path)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("cannot open %s: another process, surely an ebbgate-agent, holds it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if err := whole(db); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open %s: %w", path, err), db.Close())
	}
	return &Store{db}, nil
}

// whole checks that a database is one of ours: bbolt takes an empty file for a new one.
func whole(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return errors.New("it is not an agent's database")
			}
		}
		return nil
	})
}

// open makes an error of the panics that bbolt has for a damaged file.
func open(path string) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it is damaged: %v", p)
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        lockTime,
		NoFreelistSync: true, // a synced one costs megabytes for each commit after a large bundle
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
}

// create makes the database under another name first: of 400 power cuts while bbolt made
// one in place, 3 left a file that nothing could open.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Left by a creation that was cut short. Two at the same time are told apart by the
	// process; the link settles which one counts.
	old, err := filepath.Glob(path + ".new-*")
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	tmp := fmt.Sprintf("%s.new-%d", path, os.Getpid())
	defer os.Remove(tmp)
	db, err := open(tmp)
	if err != nil {
		return err
	}
	s := &Store{db}
	err = s.update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// update runs f in a transaction. An error of f changes nothing; an error of the commit
// is ErrFull, and changes nothing either, or ErrSync.
func (s *Store) update(f func(*bbolt.Tx) error) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	if err := f(tx); err != nil {
		return noRoom(err)
	}
	if err := tx.Commit(); err != nil {
		if err := noRoom(err); errors.Is(err, release.ErrFull) {
			return err
		}
		return fmt.Errorf("%w: %w", release.ErrSync, err)
	}
	return nil
}

// noRoom marks the errors of a full disk; bbolt keeps only the text of some.
func noRoom(err error) error {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, no) || strings.Contains(err.Error(), no.Error()) {
			return fmt.Errorf("%w: %w", release.ErrFull, err)
		}
	}
	return err
}

// Begin records a start of the agent, and returns its incarnation, and whether the run
// before it ended with [Store.End]. The first start of all counts as clean.
//
// An incarnation is the time of the start in Unix milliseconds, and above the one before
// whatever the clock says. A count from 1 would begin anew when a node is reinstalled, and
// controllers, which take a report only over an older one, would be deaf to the new node.
func (s *Store) Begin() (incarnation uint64, clean bool, err error) {
	err = s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketAgent)
		before := number(b.Get(keyIncarnation))
		incarnation = max(before+1, uint64(max(0, time.Now().UnixMilli())))
		clean = before == 0 || b.Get(keyClean) != nil
		if err := b.Delete(keyClean); err != nil {
			return err
		}
		return b.Put(keyIncarnation, bigEndian(incarnation))
	})
	if err != nil {
		return 0, false, fmt.Errorf("cannot record the start: %w", err)
	}
	return incarnation, clean, nil
}

// End records an orderly end of the agent.
func (s *Store) End() error {
	return s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketAgent).Put(keyClean, []byte{1}) })
}

// Desired returns the newest desired document that was accepted, and its sequence; nil
// and 0 when there was none.
func (s *Store) Desired() (envelope []byte, sequence uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketAgent)
		envelope = append([]byte(nil), b.Get(keyDesired)...)
		sequence = number(b.Get(keySequence))
		return nil
	})
	return envelope, sequence, err
}

// SetDesired replaces the desired document. It refuses a sequence that is not above the
// one before with [wire.ErrReplay].
func (s *Store) SetDesired(envelope []byte, sequence uint64) error {
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketAgent)
		if seen := number(b.Get(keySequence)); sequence <= seen {
			return fmt.Errorf("desired: %w: sequence %d after %d", wire.ErrReplay, sequence, seen)
		}
		if err := b.Put(keySequence, bigEndian(sequence)); err != nil {
			return err
		}
		return b.Put(keyDesired, envelope)
	})
}

// App returns the state of an app; the zero State when there is none yet.
func (s *Store) App(app wire.App) (st plan.State, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		data := tx.Bucket(bucketApps).Get([]byte(app))
		if data == nil {
			return nil
		}
		return json.Unmarshal(data, &st)
	})
	if err != nil {
		return plan.State{}, fmt.Errorf("cannot read the state of %s: %w", app, err)
	}
	return st, nil
}

// SetApp replaces the state of an app, durably.
func (s *Store) SetApp(app wire.App, st plan.State) error {
	data, err := json.Marshal(st)
	if err == nil {
		err = s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketApps).Put([]byte(app), data) })
	}
	if err != nil {
		return fmt.Errorf("cannot write down the state of %s: %w", app, err)
	}
	return nil
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
