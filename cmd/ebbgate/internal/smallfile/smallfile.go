// Package smallfile reads files that are meant to be small.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Max bounds the files that are read whole: plans, keys, roots, tokens, configuration.
const Max = 1 << 20

// Read reads a file whole. What is larger than [Max] is refused, and so is a device that
// never ends. Errors are of type [*fs.PathError].
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, Max+1))
	if err == nil && len(data) > Max {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("is larger than %d bytes", Max)}
	}
	return data, err
}
