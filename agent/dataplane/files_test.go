package dataplane

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestFilesConfirmReadsEachTraceBack(t *testing.T) {
	var shown atomic.Value
	shown.Store("")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(HeaderRelease, shown.Load().(string))
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
			r.Epoch--
			mustWrite(t, filepath.Join(p.cfg.Dir, ActiveFile), string(r.Identity().json()))
		}, ActiveFile},
		"software": {func(*testing.T, *plane, Release) { shown.Store("1.0-old@1") }, HeaderRelease},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t, KindFiles)
			p.cfg.ConfirmURL = srv.URL
			d := p.open(t)
			r := p.release(t, 7, p.good("seven"))
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
