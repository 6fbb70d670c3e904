package main

import (
	"fmt"
	"io"
	"os"
)

// maxFile bounds the files that commands read whole: plans, keys, roots, configuration.
const maxFile = 1 << 20

// readFile reads a small file whole. A device that never ends is refused like any file
// that is too large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	return data, err
}
