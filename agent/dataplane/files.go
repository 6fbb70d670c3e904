package dataplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// ManifestFile is the file in a release's directory that may hold the payload of its
// manifest. Its hash is the release's digest, so such a directory proves what it is; one
// without it has to be named by the whole digest.
const ManifestFile = ".ebbgate-manifest.json"

// files serves software that has no driver and reads the release directory by itself:
// a switch is the `current` link, what is written for this node, and then the hooks.
type files struct {
	cfg Config
	mu  sync.Mutex // one Activate at a time: what is written and the hooks belong together
}

func newFiles(cfg Config) (*files, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, LiveDir), 0o755); err != nil {
		return nil, fmt.Errorf("dataplane of %s: %w", cfg.App, err)
	}
	cfg.sweep(func(name string) bool { return strings.HasPrefix(name, tmpPrefix) })
	return &files{cfg: cfg}, nil
}

func (f *files) Traits() Traits { return Traits{Name: string(KindFiles), URL: f.cfg.URL} }

// Validate checks that the directory is the release, and that this node can do what
// the bundle asks for.
func (f *files) Validate(_ context.Context, r Release) error {
	if err := f.cfg.checkHooks(r); err != nil {
		return err
	}
	if len(r.Probes) > 0 && f.cfg.URL == "" {
		return errors.New("the bundle has probes, and this node's configuration no url to send them to")
	}
	if err := checkManifest(r); err != nil {
		return err
	}
	_, err := f.render(r)
	return err
}

func (f *files) Arm(context.Context, Release) error { return nil }

// Activate writes what is this node's and runs the hooks.
func (f *files) Activate(ctx context.Context, r Release) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.cfg.checkHooks(r); err != nil {
		return err
	}
	if err := f.linked(r); err != nil {
		return err
	}
	written, err := f.render(r)
	if err != nil {
		return err
	}
	for _, path := range wire.Keys(written) {
		if err := writeFile(path, written[path]); err != nil {
			return err
		}
	}
	if err := f.sweep(written); err != nil {
		return err
	}
	return f.cfg.runHooks(ctx, r)
}

// Confirm reads back the link, which bundle is behind it, what Activate has written, and
// if the configuration has a confirm_url, what the software shows there: all of
// [tags.Identity] at [tags.IdentityPath], elsewhere the header X-Ebbgate-Release.
func (f *files) Confirm(ctx context.Context, r Release) (string, error) {
	if err := f.linked(r); err != nil {
		return "", err
	}
	if err := checkManifest(r); err != nil {
		return "", err
	}
	written, err := f.render(r)
	if err != nil {
		return "", err
	}
	for _, path := range wire.Keys(written) {
		got, err := readCapped(path, int64(len(written[path])))
		if err != nil {
			return "", err
		}
		if !bytes.Equal(got, written[path]) {
			return "", fmt.Errorf("%s is not what it has to be for %s", path, r.ID())
		}
	}
	evidence := fmt.Sprintf("%s leads to %s, which is bundle %s", f.cfg.Current, r.Dir, r.Digest.Short())
	if f.cfg.ConfirmURL == "" {
		return evidence, nil
	}
	ctx, cancel := withDeadline(ctx, f.cfg.Timeout.Std())
	defer cancel()
	shows := headerShows
	if strings.HasSuffix(f.cfg.ConfirmURL, tags.IdentityPath) {
		shows = identityShows
	}
	shown, err := readback{url: f.cfg.ConfirmURL, shows: shows}.confirm(ctx, r)
	if err != nil {
		return "", err
	}
	return evidence + "; " + shown, nil
}

// headerShows asks for the release header alone: software of the user's own need not
// know of the rest.
func headerShows(ctx context.Context, url string, r Release) error {
	a, err := get(ctx, url)
	if err != nil {
		return err
	}
	if got := a.header.Get(tags.HeaderRelease); got != r.ID() {
		return fmt.Errorf("%s: header %s is %s, want %s", url, tags.HeaderRelease, quote(got), r.ID())
	}
	return nil
}

func (f *files) Check(ctx context.Context, r Release) error {
	if len(r.Probes) > 0 && f.cfg.URL == "" {
		return errors.New("probes: this node's configuration has no url")
	}
	return check(ctx, f.cfg.URL, r)
}

func (f *files) Close() error { return nil }

// linked reports whether `current` leads to r.
func (f *files) linked(r Release) error {
	got, err := filepath.EvalSymlinks(f.cfg.Current)
	if err != nil {
		return err
	}
	want, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s leads to %s, want %s", f.cfg.Current, got, want)
	}
	return nil
}

// checkManifest holds the manifest in the release's directory, or the directory's name,
// against the digest.
func checkManifest(r Release) error {
	file, err := os.Open(filepath.Join(r.Dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(r.Dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is not a directory", r.Dir)
		}
		if filepath.Base(r.Dir) != r.Digest.String() {
			return fmt.Errorf("%s holds no %s and is not named %s", r.Dir, ManifestFile, r.Digest)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, wire.MaxManifest+1)); err != nil {
		return err
	}
	if got := wire.Digest(h.Sum(nil)); got != r.Digest {
		return fmt.Errorf("%s is of bundle %s, want %s", filepath.Join(r.Dir, ManifestFile), got.Short(), r.Digest.Short())
	}
	return nil
}
