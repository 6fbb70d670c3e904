package dataplane

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ebbgate/ebbgate/agent/release"
)

const tmpPrefix = ".tmp-" // of files that have not got their name yet

// writeFile replaces path by data, durably: after a power cut it holds the old bytes
// or the new ones. Its errors wrap [release.ErrFull] and [release.ErrSync] where they are
// of that kind.
func writeFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tmpPrefix+"*")
	if err != nil {
		return release.Full(err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = release.Full(err)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = release.Sync(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return release.Sync(d)
}

// sweep removes what earlier releases and interrupted runs have left in the driver's
// directory.
func (c *Config) sweep(old func(name string) bool) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		c.Logger.Warn("cannot look for old files", "app", c.App, "err", err)
	}
	for _, e := range entries {
		if !old(e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
			c.Logger.Warn("cannot remove an old file", "app", c.App, "err", err)
		}
	}
}

// readCapped reads a file of at most limit bytes.
func readCapped(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}
