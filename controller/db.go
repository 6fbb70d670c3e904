package controller

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	bucketJournal = []byte("journal")
	bucketAudit   = []byte("audit")
	bucketSelf    = []byte("self")

	buckets = [][]byte{bucketJournal, bucketAudit, bucketSelf}
)

var errForeign = errors.New("it is not a controller's database")

// lockTimeout is how long to wait for another process to let go of the file.
const lockTimeout = 2 * time.Second

// openDB opens the controller's database. A new one is made under a temporary name,
// synced and renamed: a power cut while bbolt writes its first pages would otherwise
// leave a file that no one can open.
func openDB(dir string) (*bolt.DB, error) {
	path := filepath.Join(dir, "controller.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createDB(dir, path); err != nil {
			return nil, fmt.Errorf("cannot create %s: %w", path, err)
		}
	}
	err := checkDB(path)
	var db *bolt.DB
	if err == nil {
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true})
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("cannot open %s: another process holds it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return db, nil
}

// checkDB reads the whole database once. bbolt takes an empty file for a new one, and
// panics over a damaged one in a goroutine of its own while it looks for free pages, which
// is not done for reading only.
func checkDB(path string) (err error) {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.Size() == 0 {
		return errForeign
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that was cut short is mapped beyond its end
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it is damaged: %v", p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			b := tx.Bucket(name)
			if b == nil {
				return errForeign
			}
			if err := b.ForEach(func(_, v []byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func createDB(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(tmp, 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
