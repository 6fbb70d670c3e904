package bundle

import (
	"context"
	"fmt"
	"io"

	"github.com/ebbgate/ebbgate/wire"
)

// Verify reads a whole bundle file and proves that it is what authors trusted by trust
// signed: signatures, every chunk, every content. A nil trust leaves the signatures out.
// Its error is one line that says what is wrong and why.
func Verify(ctx context.Context, b *File, trust *wire.Trust) (*wire.Manifest, error) {
	m, err := b.manifest(ctx, trust)
	if err == nil {
		err = b.reader().Contents(ctx, m, func(wire.Content, io.Reader) error { return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("cannot accept bundle %s: %w", b.name, err)
	}
	return m, nil
}

// Describe returns a bundle in lines for people: name, digest, sizes, who says to have
// signed it, and the files.
func Describe(b *File, m *wire.Manifest) []string {
	ix := b.Index
	lines := []string{
		fmt.Sprintf("bundle   %s %s", m.App, m.Version),
		fmt.Sprintf("digest   %s", ix.Digest),
		fmt.Sprintf("pack     %s, %d bytes in %d chunks", b.Pack.Short(), ix.Manifest.Packed+ix.Content.Packed, len(ix.Chunks())),
		fmt.Sprintf("content  %d bytes, %d distinct", ix.Content.Size, len(m.Contents())),
	}
	if m.Floor != "" {
		lines = append(lines, "floor    "+string(m.Floor))
	}
	for _, s := range ix.Signatures {
		lines = append(lines, fmt.Sprintf("signed   by key %q", s.KeyID))
	}
	if len(ix.Signatures) == 0 {
		lines = append(lines, "signed   by nobody")
	}
	for _, f := range m.Files {
		lines = append(lines, fileLine("files/", f))
	}
	for _, r := range wire.Keys(m.Overlays) {
		for _, f := range m.Overlays[r] {
			lines = append(lines, fileLine("overlays/"+string(r)+"/", f))
		}
	}
	return lines
}

func fileLine(dir string, f wire.File) string {
	return fmt.Sprintf("%#o %s %10d  %s%s", f.Mode, f.SHA256.Short(), f.Size, dir, f.Path)
}

// Diff returns what changes in a region from old (nil: nothing) to new, a line for each
// file: "+" added, "-" removed, "~" changed. Region "" is one without an overlay.
func Diff(old, new *wire.Manifest, r wire.Region) []string {
	var lines []string
	for _, c := range new.Diff(old, r) {
		switch {
		case c.Old == nil:
			lines = append(lines, fmt.Sprintf("+ %s (%d bytes)", c.Path, c.New.Size))
		case c.New == nil:
			lines = append(lines, fmt.Sprintf("- %s (%d bytes)", c.Path, c.Old.Size))
		case c.Old.SHA256 == c.New.SHA256:
			lines = append(lines, fmt.Sprintf("~ %s (mode %#o to %#o)", c.Path, c.Old.Mode, c.New.Mode))
		default:
			lines = append(lines, fmt.Sprintf("~ %s (%d to %d bytes)", c.Path, c.Old.Size, c.New.Size))
		}
	}
	return lines
}
