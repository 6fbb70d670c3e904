package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/wire"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
)

func newTrustCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "trust", Short: "Make keys, roots of trust and tokens"}
	cmd.AddCommand(
		newTrustInitCommand(c),
		newTrustKeygenCommand(c),
		newTrustTokenCommand(c),
	)
	return cmd
}

// file is a file to be made.
type file struct {
	path string
	data []byte
}

// createFiles makes all files with mode 0600, or none: it refuses if one exists, and
// takes back what it made if another cannot be made.
func createFiles(files ...file) (err error) {
	for _, f := range files {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fs.ErrExist
			}
			return fmt.Errorf("%s: %w", f.path, reason(err))
		}
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				os.Remove(path)
			}
		}
	}()
	for _, f := range files {
		w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, reason(err))
		}
		made = append(made, f.path)
		_, err = w.Write(f.data)
		if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.path, reason(err))
		}
	}
	return nil
}

// reason drops the operation and the path from a file error, where the sentence around
// it has named them.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// makeDir makes a directory that only its owner may enter.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%s: %w", dir, reason(err))
	}
	return nil
}

// readKey reads a private key.
func readKey(path string) (wire.PrivateKey, error) {
	data, err := smallfile.Read(filepath.Clean(path))
	if err != nil {
		return wire.PrivateKey{}, fmt.Errorf("cannot read key %s: %w", path, reason(err))
	}
	key, err := wire.ParsePrivateKey(string(data))
	if err != nil {
		return wire.PrivateKey{}, fmt.Errorf("cannot read key %s: %w", path, err)
	}
	return key, nil
}
