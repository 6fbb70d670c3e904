package wire

import (
	"strings"
	"testing"
)

func wantReason(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		region Region
		limits Limits
		want   string
	}{
		{"us-east", Limits{}, ""},
		{"us-east", Limits{Files: 3, Bytes: 200, File: 120}, ""},
		{"us-east", Limits{File: 119}, "manifest: files: conf/nginx.conf has 120 bytes, limits.file of this node allows 119"},
		{"us-east", Limits{Files: 2}, "manifest: files: are 3, limits.files of this node allows 2"},
		{"us-east", Limits{Bytes: 199}, "manifest: files: hold 200 bytes, limits.bytes of this node allows 199"},
		{"eu-west", Limits{File: 129}, "manifest: overlays.eu-west: conf/nginx.conf has 130 bytes"},
		{"us-east", Limits{Growth: 1}, ""}, // there is nothing before it
	} {
		wantReason(t, string(tt.region), goodManifest().Within(tt.limits, "this node", tt.region), tt.want)
	}
}

func TestFollows(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new func(*Manifest)
		want     string
	}{
		{"the same", func(*Manifest) {}, func(*Manifest) {}, ""},
		{"a limit is raised", func(m *Manifest) { m.Limits.File = 130 }, func(m *Manifest) { m.Limits.File = 1 << 20 }, ""},
		{"a limit is raised and used", func(m *Manifest) { m.Limits.File = 130 },
			func(m *Manifest) { m.Limits.File = 1 << 20; m.Files[1].Size = 131 },
			"manifest: files: conf/sites/a.conf has 131 bytes, limits.file of 1.4.0 allows 130"},
		{"a limit is dropped and passed", func(m *Manifest) { m.Limits.Files = 4 },
			func(m *Manifest) {
				m.Limits = Limits{}
				m.Files = append(m.Files, File{"z", ModeRegular, 1, digest("z")})
			},
			"manifest: overlays.ap-south: are 5, limits.files of 1.4.0 allows 4"},
		{"it grows within its own limit", func(m *Manifest) { m.Limits.Growth = 0 },
			func(m *Manifest) { m.Limits.Growth = 1.5; m.Files[1].Size = 120 }, ""},
		{"it grows beyond its own limit", func(m *Manifest) { m.Limits.Growth = 0 },
			func(m *Manifest) { m.Limits.Growth = 1.5; m.Files[0].Size, m.Files[1].Size = 121, 200 },
			"manifest: files: content grows from 200 to 321 bytes, most in conf/sites/a.conf, limits.growth allows 1.5 times as much"},
		{"it grows beyond the limit before", func(m *Manifest) { m.Limits.Growth = 1.5 },
			func(m *Manifest) { m.Limits.Growth = 0; m.Files[1].Size = 200 },
			"most in conf/sites/a.conf, limits.growth of 1.4.0 allows 1.5 times as much"},
		{"a region grows that had no overlay", func(m *Manifest) { m.Limits.Growth = 1.5 },
			func(m *Manifest) { m.Overlays["us-east"] = []File{{"z", ModeRegular, 200, digest("z")}} },
			"manifest: overlays.us-east: content grows from 200 to 400 bytes, most in z"},
		{"it shrinks", func(m *Manifest) { m.Limits.Growth = 1 }, func(m *Manifest) { m.Files[0].Size = 0 }, ""},
	} {
		old, now := goodManifest(), goodManifest()
		old.Limits, now.Limits = Limits{}, Limits{}
		tt.old(old)
		now.Limits = old.Limits
		tt.new(now)
		wantReason(t, tt.name, now.Follows(old), tt.want)
	}
}
