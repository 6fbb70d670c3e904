package wire

// Limits are what the app's consumers can bear. Zero means the hard limit.
type Limits struct {
	Files  int     `json:"files,omitempty"`  // number of files in a region
	Bytes  int64   `json:"bytes,omitempty"`  // content in a region
	File   int64   `json:"file,omitempty"`   // content of the largest file
	Growth float64 `json:"growth,omitempty"` // content against the previous version, 1.5 allows half as much again
}

// Check reports a limit that makes no sense; doc is where it stands.
func (l Limits) Check(doc string) error {
	c := &checker{doc: doc}
	l.check(c)
	return c.err
}

func (l Limits) check(c *checker) {
	c.that(l.Files >= 0, "limits.files", "is negative")
	c.that(l.Bytes >= 0, "limits.bytes", "is negative")
	c.that(l.File >= 0, "limits.file", "is negative")
	c.that(l.Growth == 0 || l.Growth >= 1, "limits.growth", "is %g, want at least 1", l.Growth)
}

// Within holds the files of region r against the files, bytes and file of limits that
// are not the manifest's own. whose says in the refusal whose they are: "this node".
func (m *Manifest) Within(l Limits, whose string, r Region) error {
	c := &checker{doc: "manifest"}
	m.within(c, l, " of "+whose, r)
	return c.err
}

func (m *Manifest) within(c *checker, l Limits, of string, r Region) {
	files, field := m.For(r), m.field(r)
	for _, f := range files {
		c.that(l.File == 0 || f.Size <= l.File, field, "%s has %d bytes, limits.file%s allows %d", f.Path, f.Size, of, l.File)
	}
	c.that(l.Files == 0 || len(files) <= l.Files, field, "are %d, limits.files%s allows %d", len(files), of, l.Files)
	bytes := m.Size(r)
	c.that(l.Bytes == 0 || bytes <= l.Bytes, field, "hold %d bytes, limits.bytes%s allows %d", bytes, of, l.Bytes)
}

// Follows reports why m cannot be the version after old: in some region it grows by more
// than either of them allows, or is beyond what old allows. A limit is what consumers
// can bear that run old's content now, so whoever raises it publishes that first, and
// what needs it with the version after.
func (m *Manifest) Follows(old *Manifest) error {
	c := &checker{doc: "manifest"}
	of := " of " + string(old.Version)
	regions := append(append([]Region{""}, Keys(m.Overlays)...), Keys(old.Overlays)...)
	for _, r := range regions {
		m.grows(c, old, r, m.Limits.Growth, "")
		m.grows(c, old, r, old.Limits.Growth, of)
		m.within(c, old.Limits, of, r)
	}
	return c.err
}

// grows holds region r against the growth that is allowed since old.
func (m *Manifest) grows(c *checker, old *Manifest, r Region, growth float64, of string) {
	was, is := old.Size(r), m.Size(r)
	if growth == 0 || was == 0 || float64(is) <= growth*float64(was) {
		return
	}
	before, most := old.For(r), int64(-1)
	var path string
	for _, f := range m.For(r) {
		b, _ := find(before, f.Path)
		if by := f.Size - b.Size; by > most {
			most, path = by, f.Path
		}
	}
	c.fail(m.field(r), "content grows from %d to %d bytes, most in %s, limits.growth%s allows %g times as much", was, is, path, of, growth)
}

// Size returns the bytes of region r's files.
func (m *Manifest) Size(r Region) (n int64) {
	for _, f := range m.For(r) {
		n += f.Size
	}
	return n
}

// field names where in m the files of region r come from.
func (m *Manifest) field(r Region) string {
	if len(m.Overlays[r]) == 0 {
		return "files"
	}
	return "overlays." + string(r)
}
