package wire

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hard limits of a bundle; an app may declare lower ones in [Limits].
const (
	MaxManifest = 16 << 20 // bytes of a manifest's payload
	MaxFiles    = 200_000  // files of a bundle, overlays included
	MaxPath     = 512      // bytes of a path
	MaxBytes    = 8 << 30  // content of a bundle, overlays included
	MaxOverlays = 1024     // regions with files of their own
)

// Manifest is the document a release author signs: what a bundle is and holds. Its
// encoding is deterministic, so the same tree always has the same [Digest].
type Manifest struct {
	Format  int     `json:"format"` // 1
	Fleet   Fleet   `json:"fleet,omitempty"`
	App     App     `json:"app"`
	Version Version `json:"version"`
	// Floor is the lowest version a node may run once it has activated this one. A
	// rollback below it is refused by the node whoever orders it. Empty: none.
	Floor  Version `json:"floor,omitempty"`
	Limits Limits  `json:"limits"`
	// Files are what every region gets, in ascending order of path.
	Files []File `json:"files"`
	// Overlays replace or add files in one region.
	Overlays map[Region][]File `json:"overlays,omitempty"` // region → files in ascending order of path
	// Probes are requests the node sends to its data plane before and after it
	// reports a release as confirmed.
	Probes []Probe `json:"probes,omitempty"`
	// Purge maps files to the CDN content that depends on them.
	Purge []PurgeRule `json:"purge,omitempty"`
	// Hooks names hooks that the node's own configuration defines; a bundle can never
	// bring a command of its own.
	Hooks []string `json:"hooks,omitempty"`
}

// File is a regular file of a release.
type File struct {
	Path   string `json:"path"` // relative, slash-separated, clean
	Mode   Mode   `json:"mode"` // permission bits, of which only 0755 or 0644 are kept
	Size   int64  `json:"size"` // bytes
	SHA256 Digest `json:"sha256"`
}

// Mode is the permission of a file: 0644 or 0755.
type Mode uint32

// The two modes a release's file can have. Set-user-id, sticky and world-writable
// files have no place in a configuration.
const (
	ModeRegular    Mode = 0o644
	ModeExecutable Mode = 0o755
)

// Probe is one request to the node's own data plane.
type Probe struct {
	Path   string `json:"path"`           // absolute path with query, "/health"
	Host   string `json:"host,omitempty"` // Host header; empty: the data plane's address
	Status int    `json:"status"`         // the status that must be answered
	Body   string `json:"body,omitempty"` // what the body's first 64 KiB must hold
}

// PurgeRule says which CDN content depends on which files. Selectors may hold
// {region}, {version}, {epoch} and {app}.
type PurgeRule struct {
	Files     string   `json:"files"`     // glob over paths; ** crosses directories
	Selectors []string `json:"selectors"` // "key:rules", "url:https://…", "prefix:…", "host:…", "all"
}

// Encode validates m and returns its payload bytes; their SHA-256 is the digest.
func (m *Manifest) Encode() ([]byte, error) { return encode(m) }

// DecodeManifest decodes a manifest's payload. It says nothing about who signed it:
// use [Trust.OpenManifest] for anything that is acted upon.
func DecodeManifest(payload []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := decode("manifest", MaxManifest, payload, m); err != nil {
		return nil, err
	}
	return m, nil
}

// For returns the files of one region in ascending order of path: the common ones,
// replaced and completed by the region's overlay.
func (m *Manifest) For(r Region) []File {
	over := m.Overlays[r]
	if len(over) == 0 {
		return m.Files
	}
	files := make([]File, 0, len(m.Files)+len(over))
	for _, f := range m.Files {
		for len(over) > 0 && over[0].Path < f.Path {
			files, over = append(files, over[0]), over[1:]
		}
		if len(over) > 0 && over[0].Path == f.Path {
			f, over = over[0], over[1:]
		}
		files = append(files, f)
	}
	return append(files, over...)
}

// Contents returns every distinct content of the bundle with its size, ordered by the
// first path that has it and, at one path, the common file before those of the overlays
// in ascending order of region. A full pack carries contents in this order: files that
// lie together are alike, which is worth up to 9 % of a pack.
func (m *Manifest) Contents() []Content {
	files := slices.Clone(m.Files)
	for _, r := range Keys(m.Overlays) {
		files = append(files, m.Overlays[r]...)
	}
	slices.SortStableFunc(files, byPath)
	seen := make(map[Digest]bool, len(files))
	contents := make([]Content, 0, len(files))
	for _, f := range files {
		if !seen[f.SHA256] {
			seen[f.SHA256] = true
			contents = append(contents, Content{f.SHA256, f.Size})
		}
	}
	return contents
}

// Content is a file's bytes without a name.
type Content struct {
	SHA256 Digest
	Size   int64
}

// Change is one difference between two releases of a region.
type Change struct {
	Path     string
	Old, New *File // nil: absent on that side
}

// Diff lists what differs in region r between old (nil: nothing) and m, in ascending
// order of path. A change of mode alone counts.
func (m *Manifest) Diff(old *Manifest, r Region) []Change {
	var from []File
	if old != nil {
		from = old.For(r)
	}
	to := m.For(r)
	var changes []Change
	for len(from) > 0 || len(to) > 0 {
		switch {
		case len(to) == 0 || len(from) > 0 && from[0].Path < to[0].Path:
			changes = append(changes, Change{from[0].Path, &from[0], nil})
			from = from[1:]
		case len(from) == 0 || to[0].Path < from[0].Path:
			changes = append(changes, Change{to[0].Path, nil, &to[0]})
			to = to[1:]
		default:
			if from[0].SHA256 != to[0].SHA256 || from[0].Mode != to[0].Mode {
				changes = append(changes, Change{to[0].Path, &from[0], &to[0]})
			}
			from, to = from[1:], to[1:]
		}
	}
	return changes
}

// Validate implements the strict check of the document.
func (m *Manifest) Validate() error {
	c := &checker{doc: "manifest"}
	c.that(m.Format == 1, "format", "is %d, want 1", m.Format)
	if m.Fleet != "" {
		c.token("fleet", string(m.Fleet))
	}
	c.token("app", string(m.App))
	if err := m.Version.Check(); err != nil {
		c.fail("version", "%v", err)
	}
	if m.Floor != "" {
		if err := m.Floor.Check(); err != nil {
			c.fail("floor", "%v", err)
		} else if m.Version.Compare(m.Floor) < 0 {
			c.fail("floor", "%s is above the bundle's own version %s", m.Floor, m.Version)
		}
	}
	m.Limits.check(c)

	total, bytes := len(m.Files), checkFiles(c, "files", m.Files)
	sizes := make(map[Digest]int64)
	sameSize(c, sizes, "files", m.Files)
	c.that(len(m.Overlays) <= MaxOverlays, "overlays", "are %d, at most %d are allowed", len(m.Overlays), MaxOverlays)
	for _, r := range Keys(m.Overlays) {
		c.token("overlays", string(r))
		field := "overlays." + string(r)
		c.that(len(m.Overlays[r]) > 0, field, "is empty")
		total += len(m.Overlays[r])
		bytes += checkFiles(c, field, m.Overlays[r])
		sameSize(c, sizes, field, m.Overlays[r])
	}
	c.that(total > 0, "files", "is empty: a bundle holds at least one file")
	c.that(total <= MaxFiles, "files", "are %d, at most %d are allowed", total, MaxFiles)
	c.that(bytes <= MaxBytes, "files", "hold %d bytes, at most %d are allowed", bytes, int64(MaxBytes))
	if c.err == nil {
		m.checkRegion(c, "")
		for _, r := range Keys(m.Overlays) {
			m.checkRegion(c, r)
		}
	}
	c.that(len(m.Probes) <= 64, "probes", "are %d, at most 64 are allowed", len(m.Probes))
	c.that(len(m.Purge) <= 1024, "purge", "are %d, at most 1024 are allowed", len(m.Purge))
	c.that(len(m.Hooks) <= 32, "hooks", "are %d, at most 32 are allowed", len(m.Hooks))
	for i, p := range m.Probes {
		f := fmt.Sprintf("probes[%d]", i)
		c.that(strings.HasPrefix(p.Path, "/") && printable(p.Path), f+".path", "%q is not an absolute path", p.Path)
		c.that(printable(p.Host) && !strings.ContainsAny(p.Host, ` /\@?#`), f+".host", "%q is not a host name", p.Host)
		c.that(p.Status >= 100 && p.Status <= 599, f+".status", "is %d, want an HTTP status", p.Status)
	}
	for i, p := range m.Purge {
		f := fmt.Sprintf("purge[%d]", i)
		c.that(p.Files != "" && utf8.ValidString(p.Files), f+".files", "is not a glob")
		c.that(len(p.Selectors) > 0, f+".selectors", "is empty")
		for j, s := range p.Selectors {
			c.that(s != "", fmt.Sprintf("%s.selectors[%d]", f, j), "is empty")
		}
	}
	for i, h := range m.Hooks {
		c.token(fmt.Sprintf("hooks[%d]", i), h)
	}
	return c.err
}

// checkRegion holds the files of region r ("" is a region without an overlay) against
// the declared limits and against each other: a file cannot also be a directory.
func (m *Manifest) checkRegion(c *checker, r Region) {
	m.within(c, m.Limits, "", r)
	files := m.For(r)
	for i, f := range files {
		// Sorted paths put "a/b" after "a" but not always next to it, so look it up.
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if _, found := find(files[:i], dir); found {
				c.fail(m.field(r), "%s is both a file and a directory", dir)
			}
		}
	}
}

func checkFiles(c *checker, field string, files []File) (bytes int64) {
	for i, f := range files {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := CheckPath(f.Path); err != nil {
			c.fail(at+".path", "%v", err)
		}
		c.that(i == 0 || files[i-1].Path < f.Path, at+".path", "%q is not after the one before it", f.Path)
		c.that(f.Mode == ModeRegular || f.Mode == ModeExecutable, at+".mode", "is %#o, want 0644 or 0755", f.Mode)
		c.that(f.Size >= 0 && f.Size <= MaxBytes, at+".size", "is %d", f.Size)
		c.that(!f.SHA256.IsZero(), at+".sha256", "is missing")
		bytes += max(0, min(f.Size, MaxBytes))
	}
	return bytes
}

// sameSize refuses one content with two sizes: a pack names contents by digest alone.
func sameSize(c *checker, sizes map[Digest]int64, field string, files []File) {
	for _, f := range files {
		if n, seen := sizes[f.SHA256]; seen {
			c.that(n == f.Size, field, "%s has %d bytes, elsewhere the same content has %d", f.Path, f.Size, n)
		}
		sizes[f.SHA256] = f.Size
	}
}

// CheckPath reports why p cannot be the path of a file in a release: it must be
// relative, clean, valid UTF-8 without control characters or backslashes, and none of
// its elements may begin with "." followed by "ebbgate", which is the agent's own.
func CheckPath(p string) error {
	switch {
	case p == "":
		return fmt.Errorf("is empty")
	case len(p) > MaxPath:
		return fmt.Errorf("is %d bytes long, at most %d are allowed", len(p), MaxPath)
	case !utf8.ValidString(p) || !printable(p):
		return fmt.Errorf("%q holds bytes that are not printable text", p)
	case strings.Contains(p, `\`):
		return fmt.Errorf("%q holds a backslash", p)
	case path.IsAbs(p):
		return fmt.Errorf("%q is absolute", p)
	case path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("%q is not a clean path inside the bundle", p)
	}
	for _, elem := range strings.Split(p, "/") {
		if strings.HasPrefix(elem, ".ebbgate") {
			return fmt.Errorf("%q: names that begin with .ebbgate are reserved", p)
		}
		if len(elem) > 255 {
			return fmt.Errorf("an element of %q is longer than 255 bytes", p)
		}
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func byPath(a, b File) int { return strings.Compare(a.Path, b.Path) }

// find looks path up in files, which are in ascending order of path.
func find(files []File, path string) (File, bool) {
	i, found := slices.BinarySearchFunc(files, path, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !found {
		return File{}, false
	}
	return files[i], true
}
