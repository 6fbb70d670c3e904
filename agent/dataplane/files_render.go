package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// Files in the state directory of a files driver.
const (
	// ActiveFile holds the [tags.Active] of what has been activated, for programs and hooks.
	ActiveFile = "active.json"
	// LiveDir holds the templates of the active release, filled in, under names that stay
	// the same: what a server's own configuration includes, or its command line names.
	LiveDir = "live"
)

// TemplateSuffix marks a file at the top of a bundle whose placeholders this node fills
// in: haproxy.cfg.ebbgate becomes live/haproxy.cfg.
const TemplateSuffix = ".ebbgate"

// render returns what Activate writes for r.
func (f *files) render(r Release) (map[string][]byte, error) { // path → content
	values, err := r.placeholders()
	if err != nil {
		return nil, err
	}
	active, err := wire.EncodeJSON(tags.Active{Identity: r.Identity(), Dir: r.Dir})
	if err != nil {
		return nil, err
	}
	written := map[string][]byte{filepath.Join(f.cfg.Dir, ActiveFile): active}
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, template := strings.CutSuffix(e.Name(), TemplateSuffix)
		if !template || !e.Type().IsRegular() {
			continue
		}
		if name == "" || name == "." || name == ".." {
			return nil, fmt.Errorf("%s: %q is no name of a file", e.Name(), name)
		}
		data, err := readCapped(filepath.Join(r.Dir, e.Name()), maxTemplate)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(string(data), "\n")
		for i, text := range lines {
			if strings.Contains(text, f.cfg.Current) {
				return nil, fmt.Errorf("%s:%d: %s changes under the running server, use @release@", e.Name(), i+1, f.cfg.Current)
			}
			if lines[i], err = fill(text, values); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", e.Name(), i+1, err)
			}
		}
		written[filepath.Join(f.cfg.Dir, LiveDir, name)] = []byte(strings.Join(lines, "\n"))
	}
	return written, nil
}

// sweep removes what only an older release had a template for, and what an interrupted
// run has left.
func (f *files) sweep(written map[string][]byte) error {
	entries, err := os.ReadDir(filepath.Join(f.cfg.Dir, LiveDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(f.cfg.Dir, LiveDir, e.Name())
		if _, live := written[path]; live {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
