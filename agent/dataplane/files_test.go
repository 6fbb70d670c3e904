package dataplane

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/agent/tags"
)

func TestFilesConfirmReadsEachTraceBack(t *testing.T) {
	var shown atomic.Value
	shown.Store("")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(tags.HeaderRelease, shown.Load().(string))
	}))
	defer srv.Close()
	for name, tt := range map[string]struct {
		breakIt func(t *testing.T, p *plane, r Release)
		want    string
	}{
		"nothing": {func(*testing.T, *plane, Release) {}, ""},
		"link": {func(t *testing.T, p *plane, _ Release) {
			p.prepare(t, p.release(t, 9, p.good("nine")))
		}, "leads to"},
		"manifest": {func(t *testing.T, _ *plane, r Release) {
			mustWrite(t, filepath.Join(r.Dir, ManifestFile), "of something else")
		}, "is of bundle"},
		"no manifest": {func(t *testing.T, _ *plane, r Release) {
			if err := os.Remove(filepath.Join(r.Dir, ManifestFile)); err != nil {
				t.Fatal(err)
			}
		}, "is not named"},
		"epoch": {func(t *testing.T, p *plane, r Release) {
			older := r
			older.Epoch--
			written := p.written(t, older)
			path := filepath.Join(p.cfg.Dir, ActiveFile)
			mustWrite(t, path, string(written[path]))
		}, ActiveFile},
		"template": {func(t *testing.T, p *plane, _ Release) {
			mustWrite(t, filepath.Join(p.cfg.Dir, LiveDir, "app.conf"), "edited by hand")
		}, "app.conf is not what it has to be"},
		"no template": {func(t *testing.T, p *plane, _ Release) {
			if err := os.Remove(filepath.Join(p.cfg.Dir, LiveDir, "app.conf")); err != nil {
				t.Fatal(err)
			}
		}, "app.conf"},
		"software": {func(*testing.T, *plane, Release) { shown.Store("1.0-old@1") }, tags.HeaderRelease},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t, KindFiles)
			p.cfg.ConfirmURL = srv.URL
			d := p.open(t)
			files := p.good("seven")
			files["app.conf.ebbgate"] = "generation @generation@\n"
			r := p.release(t, 7, files)
			shown.Store(r.ID())
			p.switchTo(t, d, r)
			tt.breakIt(t, p, r)
			if tt.want == "" {
				p.mustConfirm(t, d, r)
				return
			}
			err := p.mustNotConfirm(t, d, r)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not hold %q", err, tt.want)
			}
		})
	}
}

// written is what the driver has to write for r.
func (p *plane) written(t *testing.T, r Release) map[string][]byte {
	t.Helper()
	written, err := (&files{cfg: p.cfg}).render(r)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

// Whatever a template has placeholders for changes in one rename, together with the path
// of the content.
func TestFilesFillsInTemplates(t *testing.T) {
	p := newPlane(t, KindFiles)
	d := p.open(t)
	const template = "@app@ @region@ @epoch@ @version@ @release-id@\n@generation@\n@tags@\n@cache-tags@\n" +
		"root @release@/site; # me@example.com\n@identity@"
	files := p.good("one")
	files["app.conf.ebbgate"], files["old.ebbgate"] = template, "@epoch@"
	files["deeper/x.ebbgate"], files["plain"] = "@x@", "@x@"
	one := p.release(t, 1, files)
	one.Version = "1.4.0-RC1"
	if err := d.Validate(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	p.switchTo(t, d, one)
	delete(files, "old.ebbgate")
	two := p.release(t, 2, files)
	two.Version = "1.5"
	for _, tt := range []struct {
		r     Release
		names []string
		want  string
	}{
		{one, []string{"app.conf", "old"}, "shop eu-west 1 1.4.0-RC1 " + one.ID() + "\nshop.eu-west-1\n" +
			"bundle:1.4.0-rc1 region:eu-west gen:shop.eu-west-1\nbundle:1.4.0-rc1,region:eu-west,gen:shop.eu-west-1\n" +
			"root " + one.Dir + "/site; # me@example.com\n" + string(one.Identity().JSON())},
		{two, []string{"app.conf"}, "shop eu-west 2 1.5 " + two.ID() + "\nshop.eu-west-2\n" +
			"bundle:1.5 region:eu-west gen:shop.eu-west-2\nbundle:1.5,region:eu-west,gen:shop.eu-west-2\n" +
			"root " + two.Dir + "/site; # me@example.com\n" + string(two.Identity().JSON())},
	} {
		p.switchTo(t, d, tt.r)
		got, err := os.ReadFile(filepath.Join(p.cfg.Dir, LiveDir, "app.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Error(diff)
		}
		var names []string
		entries, err := os.ReadDir(filepath.Join(p.cfg.Dir, LiveDir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if diff := cmp.Diff(tt.names, names); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFilesRefusesTemplates(t *testing.T) {
	p := newPlane(t, KindFiles)
	d := p.open(t)
	for _, tc := range []struct{ name, in, want string }{
		{"app.conf.ebbgate", "a\nroot @relase@;", "app.conf.ebbgate:2: placeholder @relase@ is unknown, want one of @app@"},
		{"app.conf.ebbgate", "root " + p.cfg.Current + "/site;", "app.conf.ebbgate:1: " + p.cfg.Current + " changes under the running server, use @release@"},
		{".ebbgate", "", `.ebbgate: "" is no name of a file`},
		{"..ebbgate", "", `..ebbgate: "." is no name of a file`},
		{"...ebbgate", "", `...ebbgate: ".." is no name of a file`},
	} {
		r := p.release(t, 1, map[string]string{"site/page": "x", tc.name: tc.in})
		if err := d.Validate(t.Context(), r); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %q: got %v, want %q", tc.name, tc.in, err, tc.want)
		}
	}
}

// A kill in the middle of a write leaves a file without its name.
func TestAnInterruptedWriteIsSweptAtTheStart(t *testing.T) {
	for _, kind := range []Kind{KindFiles, KindNginx} {
		p := newPlane(t, kind)
		if err := os.MkdirAll(p.cfg.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		left, kept := filepath.Join(p.cfg.Dir, ".tmp-123"), filepath.Join(p.cfg.Dir, "users-own")
		mustWrite(t, left, "half")
		mustWrite(t, kept, "whole")
		p.open(t)
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Errorf("%s: %s is still there: %v", kind, left, err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
	}
}

// Software that shows all of its identity is held to all of it.
func TestFilesConfirmsAtTheIdentityPath(t *testing.T) {
	p := newPlane(t, KindFiles)
	source := tags.Open(filepath.Join(p.cfg.Dir, ActiveFile))
	var wrong atomic.Bool
	srv := httptest.NewServer(tags.Handler(http.NotFoundHandler(), func() *tags.Active {
		a := *source.Active()
		if wrong.Load() {
			a.Generation = "shop.eu-west-6"
		}
		return &a
	}))
	defer srv.Close()
	p.cfg.ConfirmURL = srv.URL + tags.IdentityPath
	d := p.open(t)
	r := p.release(t, 7, p.good("seven"))
	p.switchTo(t, d, r)
	wrong.Store(true)
	if err := p.mustNotConfirm(t, d, r); !strings.Contains(err.Error(), "shop.eu-west-6") {
		t.Error(err)
	}
}

// A release kept under its digest needs no manifest beside its content.
func TestFilesAcceptsADirectoryNamedByItsDigest(t *testing.T) {
	p := newPlane(t, KindFiles)
	d := p.open(t)
	r := p.release(t, 1, p.good("one"))
	if err := os.Remove(filepath.Join(r.Dir, ManifestFile)); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(filepath.Dir(r.Dir), r.Digest.String())
	if err := os.Rename(r.Dir, named); err != nil {
		t.Fatal(err)
	}
	r.Dir = named
	if err := d.Validate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	p.switchTo(t, d, r)
	r.Probes = append(r.Probes, probe("/", 200))
	if err := d.Validate(t.Context(), r); err == nil {
		t.Error("probes without a url: no error")
	}
}

func mustWrite(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
