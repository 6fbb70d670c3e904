package dataplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// plane is one driver under the conformance suite, with what the agent around it
// would do: the `current` link and the modification times.
type plane struct {
	cfg   Config
	good  func(body string) map[string]string // files of a release whose /page is body
	bad   map[string]string                   // files of a release that must not validate
	stamp time.Time                           // of the newest activation
}

// planes are the drivers under test. Each has its own directory and port.
var planes = map[Kind]func(t *testing.T) *plane{
	KindBuiltin: func(t *testing.T) *plane {
		return &plane{
			cfg: Config{Kind: KindBuiltin, Listen: servertest.FreeAddress(t)},
			good: func(body string) map[string]string {
				return map[string]string{"site/page": body, "builtin.json": `{"surrogate_keys":{"page":["pages"]}}`}
			},
			bad: map[string]string{"site/page": "bad", "builtin.json": `{"respond":[{"path":"/page","status":99}]}`},
		}
	},
	KindFiles: func(t *testing.T) *plane {
		return &plane{
			cfg:  Config{Kind: KindFiles},
			good: func(body string) map[string]string { return map[string]string{"site/page": body} },
			bad:  map[string]string{"site/page": "bad", ManifestFile: "of another bundle"},
		}
	},
	KindNginx: func(t *testing.T) *plane {
		servertest.Find(t, "nginx")
		return &plane{
			cfg: Config{Kind: KindNginx, Listen: servertest.FreeAddress(t), Start: true},
			good: func(body string) map[string]string {
				return map[string]string{"site/page": body, NginxTemplate: nginxTemplate}
			},
			bad: map[string]string{NginxTemplate: strings.Replace(nginxTemplate, "root ", "rot ", 1)},
		}
	},
}

// The workers are root's because a test's temporary directory is root's alone.
const nginxTemplate = `user root;
worker_processes 1;
events { worker_connections 256; }
http {
	access_log off;
	server {
		listen @listen@;
		include @ebbgate@;
		root @release@/site;
	}
}
`

// eachPlane runs f on every driver.
func eachPlane(t *testing.T, f func(t *testing.T, p *plane)) {
	for _, kind := range wire.Keys(planes) {
		t.Run(string(kind), func(t *testing.T) {
			f(t, newPlane(t, kind))
		})
	}
}

func newPlane(t *testing.T, kind Kind) *plane {
	t.Helper()
	p := planes[kind](t)
	p.cfg.App, p.cfg.Region = "shop", "eu-west"
	p.cfg.Dir, p.cfg.Current = filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "current")
	p.stamp = time.Unix(1_700_000_000, 0)
	return p
}

func (p *plane) open(t *testing.T) Driver {
	t.Helper()
	d, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

// release materialises files as a release of its own.
func (p *plane) release(t *testing.T, epoch wire.Epoch, files map[string]string) Release {
	t.Helper()
	manifest := fmt.Sprintf("manifest of epoch %d: %v", epoch, files)
	r := Release{
		App: "shop", Region: "eu-west", Epoch: epoch, Version: wire.Version(fmt.Sprintf("1.%d", epoch)),
		Digest: wire.DigestOf([]byte(manifest)), Dir: filepath.Join(t.TempDir(), "release"),
	}
	write := func(name, data string) {
		path := filepath.Join(r.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(ManifestFile, manifest)
	for _, name := range wire.Keys(files) {
		write(name, files[name])
	}
	return r
}

// prepare does what the agent does before Activate: link and stamp.
func (p *plane) prepare(t *testing.T, r Release) {
	t.Helper()
	next := p.cfg.Current + ".next"
	if err := os.Symlink(r.Dir, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, p.cfg.Current); err != nil {
		t.Fatal(err)
	}
	p.stamp = p.stamp.Add(time.Second)
	if err := os.Chtimes(filepath.Join(r.Dir, "site/page"), p.stamp, p.stamp); err != nil {
		t.Fatal(err)
	}
}

// switchTo activates and confirms.
func (p *plane) switchTo(t *testing.T, d Driver, r Release) {
	t.Helper()
	p.prepare(t, r)
	if err := d.Activate(t.Context(), r); err != nil {
		t.Fatalf("Activate %s: %v", r.ID(), err)
	}
	p.mustConfirm(t, d, r)
}

func (p *plane) mustConfirm(t *testing.T, d Driver, r Release) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	evidence, err := d.Confirm(ctx, r)
	if err != nil {
		t.Fatalf("Confirm %s: %v", r.ID(), err)
	}
	if !strings.Contains(evidence, r.Digest.Short()) {
		t.Errorf("evidence %q does not name the digest", evidence)
	}
}

func (p *plane) mustNotConfirm(t *testing.T, d Driver, r Release) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	evidence, err := d.Confirm(ctx, r)
	if err == nil {
		t.Fatalf("Confirm %s: no error, evidence %s", r.ID(), evidence)
	}
	return err
}

// mustServe reads /page as a user of the data plane would.
func (p *plane) mustServe(t *testing.T, d Driver, want string) {
	t.Helper()
	var got string
	if url := d.Traits().URL; url != "" {
		a, err := get(t.Context(), url+"/page")
		if err != nil {
			t.Fatal(err)
		}
		got = string(a.body)
	} else {
		data, err := os.ReadFile(filepath.Join(p.cfg.Current, "site/page"))
		if err != nil {
			t.Fatal(err)
		}
		got = string(data)
	}
	if got != want {
		t.Fatalf("serves %q, want %q", got, want)
	}
}

// TestDeclaredTraits holds what a report says of each data plane. Of nginx it depends on
// the version.
func TestDeclaredTraits(t *testing.T) {
	eachPlane(t, func(t *testing.T, p *plane) {
		traits := p.open(t).Traits()
		want := map[Kind][]string{KindBuiltin: {wire.TraitArms, wire.TraitDropFree}}[p.cfg.Kind]
		if p.cfg.Kind == KindNginx && wire.Version(traits.Version).Compare("1.27.4") >= 0 {
			want = []string{wire.TraitDropFree}
		}
		if got := traits.Declared(); !slices.Equal(got, want) {
			t.Errorf("%s declares %q, want %q", traits, got, want)
		}
	})
}

func TestSwitchAndRevert(t *testing.T) {
	t.Parallel()
	eachPlane(t, func(t *testing.T, p *plane) {
		d := p.open(t)
		one, two := p.release(t, 1, p.good("one")), p.release(t, 2, p.good("two"))
		p.mustNotConfirm(t, d, one)
		for _, r := range []Release{one, two} {
			if err := d.Validate(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		p.switchTo(t, d, one)
		p.mustServe(t, d, "one")

		if err := d.Arm(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		p.mustServe(t, d, "one")
		p.mustConfirm(t, d, one)
		p.switchTo(t, d, two)
		p.mustServe(t, d, "two")
		p.mustNotConfirm(t, d, one)

		back := one
		back.Epoch = 3
		p.mustNotConfirm(t, d, back)
		p.switchTo(t, d, back)
		p.mustServe(t, d, "one")
		// The same content at the epoch before is not what serves.
		p.mustNotConfirm(t, d, one)
	})
}

func TestInvalidReleaseLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	eachPlane(t, func(t *testing.T, p *plane) {
		d := p.open(t)
		one := p.release(t, 1, p.good("one"))
		p.switchTo(t, d, one)
		bad := p.release(t, 2, p.bad)
		if err := d.Validate(t.Context(), bad); err == nil {
			t.Fatal("Validate: no error")
		} else {
			t.Log(err)
		}
		hooked := p.release(t, 3, p.good("three"))
		hooked.Hooks = []string{"warm-up"}
		if err := d.Validate(t.Context(), hooked); err == nil || !strings.Contains(err.Error(), `"warm-up"`) {
			t.Errorf("Validate with an unknown hook: %v", err)
		}
		p.mustServe(t, d, "one")
		p.mustConfirm(t, d, one)
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	eachPlane(t, func(t *testing.T, p *plane) {
		d := p.open(t)
		one := p.release(t, 1, p.good("one"))
		p.switchTo(t, d, one)
		for range 2 {
			begin := time.Now()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("Close took %s", took)
			}
		}
		d = p.open(t)
		p.switchTo(t, d, one)
		p.mustServe(t, d, "one")
	})
}

func TestHooksRunAfterTheSwitch(t *testing.T) {
	eachPlane(t, func(t *testing.T, p *plane) {
		out := filepath.Join(t.TempDir(), "out")
		p.cfg.Hooks = map[string]Hook{
			"note": {Argv: []string{"/bin/sh", "-c", `echo "$EBBGATE_RELEASE" "$HOME" >` + out}},
			"fail": {Argv: []string{"/bin/sh", "-c", "echo out of cheese; exit 3"}},
		}
		t.Setenv("HOME", "/somewhere")
		d := p.open(t)
		r := p.release(t, 1, p.good("one"))
		r.Hooks = []string{"note"}
		p.switchTo(t, d, r)
		if got, err := os.ReadFile(out); err != nil || string(got) != r.ID()+" \n" {
			t.Errorf("the hook wrote %q, %v", got, err)
		}
		r.Hooks = []string{"fail"}
		err := d.Activate(t.Context(), r)
		if want := "hook fail: exit status 3: out of cheese"; err == nil || err.Error() != want {
			t.Errorf("Activate: %v, want %s", err, want)
		}
	})
}
