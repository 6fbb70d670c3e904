package tags

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ebbgate/ebbgate/wire"
)

// maxActive bounds the file: it holds a few short texts.
const maxActive = 64 << 10

// Active is the release that a node serves: what active.json in the state directory of
// an app says, <state>/apps/<app>/plane/active.json.
type Active struct {
	Identity
	Dir string `json:"dir"` // absolute path of the release's files, which never change
}

// File reads active.json, and reads it again whenever the agent has replaced it.
type File struct {
	path string

	mu   sync.Mutex // guards the rest
	info os.FileInfo
	last *Active
}

// Open makes a File of active.json at path. The file need not exist yet.
func Open(path string) *File { return &File{path: path} }

// Active returns what the file says now, nil before there is a first release. While the
// file cannot be read it goes on returning what the file said last: a broken disk takes
// nothing out of service, and the agent sees that an older release is shown. The result
// is the same pointer until the file is replaced, and must not be changed.
func (f *File) Active() *Active {
	// The agent replaces the file by a rename, so a file that is the same one in the same
	// state has the same content, and a stat is all that a request costs.
	info, err := os.Stat(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.last
	}
	if a, info, err := read(f.path); err == nil {
		f.info, f.last = info, a
	}
	return f.last
}

// read returns the content with the state of the very file that held it.
func read(path string) (*Active, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxActive))
	if err != nil {
		return nil, nil, err
	}
	a := new(Active)
	// Not strictly: the agent may be newer than the program.
	if err := json.Unmarshal(data, a); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := wire.ParseGeneration(a.Generation); err != nil || a.Dir == "" {
		return nil, nil, fmt.Errorf("%s names no release", path)
	}
	return a, info, nil
}
