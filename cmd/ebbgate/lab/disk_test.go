package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// kept returns the journal that a controller has on its own disk. The controller must not
// write meanwhile.
func kept(t *testing.T, state string) map[string]record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(state, "controller.db"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db") // a paused controller holds the lock of its own
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := make(map[string]record)
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("journal")).ForEach(func(k, v []byte) error {
			var r record
			err := json.Unmarshal(v, &r)
			all[string(k)] = r
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
