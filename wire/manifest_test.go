package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestManifestRefuses(t *testing.T) {
	file := func(path string) File { return File{path, ModeRegular, 1, digest(path)} }
	for _, tt := range []struct {
		field string
		spoil func(*Manifest)
	}{
		{"", func(*Manifest) {}},
		{"format", func(m *Manifest) { m.Format = 2 }},
		{"fleet", func(m *Manifest) { m.Fleet = "Prod" }},
		{"app", func(m *Manifest) { m.App = "" }},
		{"version", func(m *Manifest) { m.Version = "1.04" }},
		{"floor", func(m *Manifest) { m.Floor = "x" }},
		{"floor", func(m *Manifest) { m.Floor = "1.4.1" }},
		{"", func(m *Manifest) { m.Floor = "1.4" }},
		{"limits.files", func(m *Manifest) { m.Limits.Files = -1 }},
		{"limits.bytes", func(m *Manifest) { m.Limits.Bytes = -1 }},
		{"limits.file", func(m *Manifest) { m.Limits.File = -1 }},
		{"limits.growth", func(m *Manifest) { m.Limits.Growth = 0.9 }},
		{"files", func(m *Manifest) { m.Files, m.Overlays = nil, nil }},
		{"files", func(m *Manifest) { m.Limits.Files = 2 }},
		{"overlays.eu-west", func(m *Manifest) { m.Limits.Files = 3; delete(m.Overlays, "ap-south") }},
		{"files", func(m *Manifest) { m.Limits.File = 119 }},
		{"overlays.eu-west", func(m *Manifest) { m.Limits.Bytes = 280 }},
		{"files[1].path", func(m *Manifest) { m.Files[1].Path = "conf/a" }},
		{"files[1].path", func(m *Manifest) { m.Files[1].Path = m.Files[0].Path }},
		{"files[0].path", func(m *Manifest) { m.Files[0].Path = "../etc/passwd" }},
		{"files[2].mode", func(m *Manifest) { m.Files[2].Mode = 0o4755 }},
		{"files[2].size", func(m *Manifest) { m.Files[2].Size = -1 }},
		{"files[2].sha256", func(m *Manifest) { m.Files[2].SHA256 = Digest{} }},
		{"overlays.eu-west", func(m *Manifest) { m.Overlays["eu-west"][1].Size = 81 }}, // another size for the same content
		{"overlays", func(m *Manifest) { m.Overlays["EU"] = []File{file("x")} }},
		{"overlays.eu-west", func(m *Manifest) { m.Overlays["eu-west"] = nil }},
		{"overlays.ap-south[0].path", func(m *Manifest) { m.Overlays["ap-south"][0].Path = "/a" }},
		{"overlays.ap-south", func(m *Manifest) { m.Overlays["ap-south"] = []File{file("conf")} }}, // a directory elsewhere
		{"files", func(m *Manifest) { m.Files, m.Overlays = []File{file("a"), file("a-b"), file("a/b")}, nil }},
		{"files", func(m *Manifest) {
			m.Files = []File{{"big-1", ModeRegular, MaxBytes, digest("1")}, {"big-2", ModeRegular, 1, digest("2")}}
			m.Limits, m.Overlays = Limits{}, nil
		}},
		{"overlays", func(m *Manifest) {
			for i := range MaxOverlays {
				m.Overlays[Region(fmt.Sprint("r", i))] = []File{file("x")}
			}
		}},
		{"probes[0].path", func(m *Manifest) { m.Probes[0].Path = "health" }},
		{"probes[0].path", func(m *Manifest) { m.Probes[0].Path = "/a\r\nX: y" }},
		{"probes[0].host", func(m *Manifest) { m.Probes[0].Host = "a/b" }},
		{"probes[0].status", func(m *Manifest) { m.Probes[0].Status = 0 }},
		{"probes", func(m *Manifest) { m.Probes = make([]Probe, 65) }},
		{"purge[0].files", func(m *Manifest) { m.Purge[0].Files = "" }},
		{"purge[0].selectors", func(m *Manifest) { m.Purge[0].Selectors = nil }},
		{"purge[0].selectors[0]", func(m *Manifest) { m.Purge[0].Selectors = []string{""} }},
		{"hooks[0]", func(m *Manifest) { m.Hooks[0] = "rm -rf /" }},
	} {
		m := goodManifest()
		tt.spoil(m)
		wantField(t, m.Validate(), tt.field)
	}
}

func TestCheckPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"a": true, "a/b.conf": true, ".hidden": true, "sp ace": true, "ü/日本": true, "...": true, "a/.ebbgat": true,
		"": false, ".": false, "..": false, "../a": false, "a/../b": false, "a/..": false, "/a": false, "a//b": false, "./a": false, "a/": false, "a/./b": false,
		`a\b`: false, "a\nb": false, "a\x00": false, "a\x7f": false, "a\u0085": false, "a\u202eb": false, "a\u2028": false, "\xff": false,
		".ebbgate": false, "a/.ebbgate-tmp/b": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
		strings.Repeat("a/", 255) + "aa": true, strings.Repeat("a/", 256) + "a": false,
	} {
		if err := CheckPath(path); (err == nil) != ok {
			t.Errorf("%q: %v, want good %t", path, err, ok)
		}
	}
}

func paths(files []File) (out []string) {
	for _, f := range files {
		out = append(out, fmt.Sprint(f.Path, " ", f.Size))
	}
	return out
}

func TestFor(t *testing.T) {
	m := goodManifest()
	for r, want := range map[Region][]string{
		"us-east":  {"conf/nginx.conf 120", "conf/sites/a.conf 80", "hooks/warm 0"},
		"eu-west":  {"conf/nginx.conf 130", "conf/sites/a.conf 80", "conf/z.conf 80", "hooks/warm 0"},
		"ap-south": {"a.conf 9", "conf/nginx.conf 120", "conf/sites/a.conf 80", "hooks/warm 0"},
	} {
		if diff := cmp.Diff(want, paths(m.For(r))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r, diff)
		}
	}
	if diff := cmp.Diff(goodManifest(), m); diff != "" {
		t.Errorf("For changed the manifest:\n%s", diff)
	}
}

func TestContents(t *testing.T) {
	want := []Content{{digest("ap"), 9}, {digest("nginx"), 120}, {digest("nginx eu"), 130}, {digest("a"), 80}, {digest(""), 0}}
	if diff := cmp.Diff(want, goodManifest().Contents()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestManifestDiff(t *testing.T) {
	old, now := goodManifest(), goodManifest()
	now.Files[1].SHA256 = digest("b")
	now.Files[2].Mode = ModeRegular
	delete(now.Overlays, "ap-south")
	for r, want := range map[Region][]string{
		"us-east":  {"~conf/sites/a.conf", "~hooks/warm"},
		"eu-west":  {"~conf/sites/a.conf", "~hooks/warm"},
		"ap-south": {"-a.conf", "~conf/sites/a.conf", "~hooks/warm"},
	} {
		var got []string
		for _, c := range now.Diff(old, r) {
			sign := "~"
			if c.Old == nil {
				sign = "+"
			} else if c.New == nil {
				sign = "-"
			}
			got = append(got, sign+c.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r, diff)
		}
	}
	if got := now.Diff(nil, "us-east"); len(got) != 3 || got[0].Old != nil {
		t.Errorf("against nothing: %v", got)
	}
	if got := now.Diff(now, "eu-west"); got != nil {
		t.Errorf("against itself: %v", got)
	}
}
