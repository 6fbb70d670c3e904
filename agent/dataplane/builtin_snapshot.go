package dataplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// snapshot is one release as the builtin server serves it. It is immutable: a request
// is answered from one snapshot from beginning to end, whatever is activated meanwhile.
type snapshot struct {
	release  Release
	root     *os.Root
	files    map[string]file            // URL path → file
	answers  map[string]builtinResponse // URL path → fixed answer
	rules    *builtinRules
	identity tags.Identity
	// users counts the requests that use the snapshot, and one more while a driver holds
	// it; at zero the directory is let go, so that an old release can be removed.
	users atomic.Int64
}

type file struct {
	name string // below root
	size int64
	etag string // of the content: names, sizes and times never say that bytes are the same
}

// newSnapshot reads the release: its rules, and the hash of every file it serves.
func newSnapshot(ctx context.Context, r Release) (*snapshot, error) {
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, err
	}
	s := &snapshot{
		release: r, root: root, identity: r.Identity(), rules: new(builtinRules),
		files: make(map[string]file), answers: make(map[string]builtinResponse),
	}
	s.users.Store(1)
	if err := s.read(ctx); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
}

func (s *snapshot) read(ctx context.Context) error {
	if f, err := s.root.Open(RulesFile); err == nil {
		data, err := io.ReadAll(io.LimitReader(f, maxRulesFile+1))
		f.Close()
		if err != nil {
			return err
		}
		if s.rules, err = parseBuiltinRules(data); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, a := range s.rules.Respond {
		s.answers[a.Path] = a
	}
	top := "."
	if info, err := s.root.Lstat("site"); err == nil && info.IsDir() {
		top = "site"
	}
	buf := make([]byte, 64<<10)
	return fs.WalkDir(s.root.FS(), top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case name != top && strings.HasPrefix(d.Name(), ".ebbgate"):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || name == RulesFile:
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", name)
		}
		f, err := s.hash(name, buf)
		if err != nil {
			return err
		}
		url := "/" + strings.TrimPrefix(name, top+"/")
		s.files[url] = f
		if dir, base := path.Split(url); base == "index.html" {
			s.files[dir] = f
		}
		return nil
	})
}

func (s *snapshot) hash(name string, buf []byte) (file, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf)
	if err != nil {
		return file{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return file{name, n, `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`}, nil
}

// done takes one user away.
func (s *snapshot) done() {
	if s.users.Add(-1) == 0 {
		s.root.Close()
	}
}

// ServeHTTP answers a request from this release alone.
func (s *snapshot) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	url := req.URL.Path
	h := w.Header()
	keys := s.rules.keys(url, s.release.Generation())
	h.Set(tags.HeaderKeys, strings.Join(keys, " "))
	h.Set(tags.HeaderCacheTag, strings.Join(keys, ","))
	s.identity.Show(h)
	if url == tags.IdentityPath {
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		w.Write(s.identity.JSON())
		return
	}
	if a, found := s.answers[url]; found {
		for _, name := range wire.Keys(a.Headers) {
			h.Set(name, a.Headers[name])
		}
		w.WriteHeader(a.Status)
		if a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
			io.WriteString(w, a.Body)
		}
		return
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, found := s.files[url]
	if !found {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	s.serveFile(w, req, f)
}

func (s *snapshot) serveFile(w http.ResponseWriter, req *http.Request, f file) {
	content, err := s.root.Open(f.name)
	if err != nil {
		http.Error(w, "file is gone", http.StatusInternalServerError)
		return
	}
	defer content.Close()
	if info, err := content.Stat(); err != nil || info.Size() != f.size {
		http.Error(w, "file has changed on disk", http.StatusInternalServerError)
		return
	}
	if ctype := mime.TypeByExtension(path.Ext(f.name)); ctype != "" {
		w.Header().Set("Content-Type", ctype)
	}
	w.Header().Set("ETag", f.etag)
	// No Last-Modified: releases are unpacked with equal times, and equal times would
	// make a 304 of other bytes.
	http.ServeContent(w, req, f.name, time.Time{}, content)
}
