package bundle

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"

	"github.com/ebbgate/ebbgate/wire"
)

var day = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func build1(t testing.TB, dir string, opt Options) *Source {
	t.Helper()
	s, err := Build(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestBuild(t *testing.T) {
	d := dir(t, waf(nil))
	if err := os.Chmod(filepath.Join(d, "files/rules/xss.conf"), 0o6700); err != nil {
		t.Fatal(err)
	}
	s := build1(t, d, Options{})
	var got []string
	for _, r := range []wire.Region{"", "ap-south", "eu-west", "us-east"} {
		for _, f := range s.Manifest.For(r) {
			got = append(got, string(r)+" "+fileLine("", f))
		}
	}
	want := []string{
		" 0644 x         12  limits.json", " 0644 x         39  rules/sqli.conf", " 0755 x         38  rules/xss.conf",
		"ap-south 0644 x         17  extra.conf", "ap-south 0644 x         11  limits.json", "ap-south 0644 x         39  rules/sqli.conf", "ap-south 0755 x         38  rules/xss.conf",
		"eu-west 0644 x         11  limits.json", "eu-west 0644 x         39  rules/sqli.conf", "eu-west 0755 x         38  rules/xss.conf",
		"us-east 0644 x         12  limits.json", "us-east 0644 x         39  rules/sqli.conf", "us-east 0755 x         38  rules/xss.conf",
	}
	if diff := cmp.Diff(noDigests(want), noDigests(got)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, c := range s.Manifest.Contents() {
		r, err := s.Open(c.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || wire.DigestOf(b) != c.SHA256 {
			t.Errorf("content %s: %v", c.SHA256.Short(), err)
		}
	}
	if _, err := s.Open(wire.Digest{1}); !errors.Is(err, wire.ErrNotFound) {
		t.Errorf("unknown content: %v, want %v", err, wire.ErrNotFound)
	}
}

// noDigests leaves the digests out of lines made by fileLine.
func noDigests(lines []string) (out []string) {
	for _, l := range lines {
		f := strings.SplitN(l, " ", 4)
		out = append(out, f[0]+" "+f[1]+" "+f[3])
	}
	return out
}

// TestSameFilesSameDigest builds one tree in ways that must not matter. The digest is
// written down: it may never change for these files.
func TestSameFilesSameDigest(t *testing.T) {
	const want = "3e5821488fbf9414b0e260dcf07857d873ece73d247f61f20200df5d0ba9c9fc"
	digest := func(t *testing.T, d string) {
		t.Helper()
		if got := build1(t, d, Options{}).Digest.String(); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
	t.Run("plain", func(t *testing.T) { digest(t, dir(t, waf(nil))) })
	t.Run("written in reverse order", func(t *testing.T) {
		root, files := t.TempDir(), waf(nil)
		names := slices.Sorted(maps.Keys(files))
		slices.Reverse(names)
		for _, name := range names {
			write1(t, root, name, files[name])
		}
		digest(t, root)
	})
	t.Run("other times and permissions", func(t *testing.T) {
		root := dir(t, waf(nil))
		filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				os.Chmod(p, 0o650)
			}
			return os.Chtimes(p, day, day)
		})
		digest(t, root)
	})
	t.Run("comments and order in bundle.yaml", func(t *testing.T) {
		digest(t, dir(t, waf(map[string]string{"bundle.yaml": "# ours\nversion: \"1.2.0\"\napp: waf\nprobes: []\n"})))
	})
	t.Run("empty directories", func(t *testing.T) {
		root := dir(t, waf(nil))
		os.MkdirAll(filepath.Join(root, "files/empty"), 0o755)
		os.MkdirAll(filepath.Join(root, "overlays/us-east"), 0o755)
		digest(t, root)
	})
}

func TestBuildRefuses(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	pem := func(kind string) string { return "x: |\n  -----BEGIN " + kind + "-----\n  AAAA\n" }
	link := func(target, name string) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		spoil func(*testing.T, string)
		want  string
	}{
		{"no bundle.yaml", map[string]string{"bundle.yaml": ""}, nil, ": bundle.yaml: no such file"},
		{"link to a file", nil, link("/etc/shadow", "files/x"), `"files/x" is a symbolic link`},
		{"link inside", nil, link("limits.json", "files/x"), `"files/x" is a symbolic link`},
		{"link to a directory", nil, link("rules", "files/x"), `"files/x" is a symbolic link`},
		{"link as overlay", nil, link("eu-west", "overlays/us-east"), `"overlays/us-east" is a symbolic link`},
		{"link as bundle.yaml", map[string]string{"bundle.yaml": ""}, link("README.md", "bundle.yaml"), `"bundle.yaml" is a symbolic link`},
		{"link as files", map[string]string{"files/limits.json": "", "files/rules/sqli.conf": "", "files/rules/xss.conf": ""}, link("overlays", "files"), `"files" is a symbolic link`},
		{"pipe", nil, func(t *testing.T, root string) {
			if err := syscall.Mkfifo(filepath.Join(root, "files/x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, `"files/x" is a named pipe`},
		{"socket", nil, func(t *testing.T, root string) {
			l, err := net.Listen("unix", filepath.Join(root, "files/x"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, `"files/x" is a socket`},
		{"line feed in a name", map[string]string{"files/a\nb": "x"}, nil, `"files/a\nb" its name cannot be part of a bundle`},
		{"name that is not text", map[string]string{"files/a\xff": "x"}, nil, `not printable text`},
		{"backslash in a name", map[string]string{`files/a\b`: "x"}, nil, `holds a backslash`},
		{"the agent's own name", map[string]string{"files/.ebbgate-x": "x"}, nil, `are reserved`},
		{"long path", map[string]string{"files/" + strings.Repeat(strings.Repeat("d", 200)+"/", 3) + "f": "x"}, nil, `at most 512 are allowed`},
		{"misspelt directory", map[string]string{"overlay/eu-west/x": "x"}, nil, `"overlay" has no place beside bundle.yaml`},
		{"file among overlays", map[string]string{"overlays/x": "x"}, nil, `"overlays/x" is a file`},
		{"no region", map[string]string{"overlays/EU/x": "x"}, nil, `"overlays/EU" is not named like a region`},
		{"file and directory at one path", map[string]string{"overlays/eu-west/rules": "x"}, nil, "rules is both a file and a directory"},
		{"PKCS 8 key", map[string]string{"files/k": pem("PRIVATE KEY")}, nil, `"files/k" holds a private key (PEM)`},
		{"RSA key", map[string]string{"files/k": pem("RSA PRIVATE KEY")}, nil, `holds a private key (PEM)`},
		{"encrypted key", map[string]string{"files/k": pem("ENCRYPTED PRIVATE KEY")}, nil, `holds a private key (PEM)`},
		{"OpenSSH key", map[string]string{"files/k": pem("OPENSSH PRIVATE KEY")}, nil, `holds a private key (PEM)`},
		{"PGP key", map[string]string{"files/k": pem("PGP PRIVATE KEY BLOCK")}, nil, `holds a private key (PEM)`},
		{"key in an overlay", map[string]string{"overlays/eu-west/k": pem("EC PRIVATE KEY")}, nil, `"overlays/eu-west/k" holds a private key`},
		{"key behind a MiB", map[string]string{"files/k": strings.Repeat("x", 1<<20-10) + pem("PRIVATE KEY")}, nil, `holds a private key (PEM)`},
		{"ebbgate key", map[string]string{"files/k": "key=" + key(t, 1).Secret()}, nil, `holds an ebbgate private key`},
		{"nkey seed", map[string]string{"files/k": "seed: " + string(seed)}, nil, `holds an nkey seed`},
		{"credentials", map[string]string{"files/k": "-----BEGIN USER NKEY SEED-----\n"}, nil, `holds an nkey seed`},
		{"too many files", map[string]string{"bundle.yaml": "app: waf\nversion: 1\nlimits:\n  files: 2\n"}, nil, "limits.files allows 2"},
		{"too many bytes", map[string]string{"bundle.yaml": "app: waf\nversion: 1\nlimits: {bytes: 95}\n"}, nil, "limits.bytes allows 95"},
		{"too large a file", map[string]string{"bundle.yaml": "app: waf\nversion: 1\nlimits: {file: 38}\n"}, nil, `"files/rules/sqli.conf" has 39 bytes, limits.file allows 38`},
		{"no files", map[string]string{"files/limits.json": "", "files/rules/sqli.conf": "", "files/rules/xss.conf": "", "overlays/eu-west/limits.json": "", "overlays/ap-south/extra.conf": "", "overlays/ap-south/limits.json": ""}, nil, "holds at least one file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := dir(t, waf(tt.files))
			if tt.spoil != nil {
				tt.spoil(t, root)
			}
			_, err := Build(root, Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestWhatOnlyLooksSecretIsBuilt(t *testing.T) {
	build1(t, dir(t, waf(map[string]string{
		"files/public.pem": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n-----BEGIN CERTIFICATE-----\n",
		"files/doc.txt":    "Keys begin with ed25519-private: and are kept elsewhere. PRIVATE KEY.",
		"files/base32.txt": "S" + strings.Repeat("A", 57) + "\n" + strings.Repeat("SUAB", 40),
	})), Options{})
}

func TestPrevious(t *testing.T) {
	spec := func(version string) string { return "app: waf\nversion: " + version + "\nlimits: {growth: 1.5}\n" }
	old := build1(t, dir(t, waf(map[string]string{"bundle.yaml": spec("1.2.0")})), Options{})
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"the same again", map[string]string{"bundle.yaml": spec("1.2.0")}, ""},
		{"a little more", map[string]string{"bundle.yaml": spec("1.2.1"), "files/more": "1234567890"}, ""},
		{"same version, other content", map[string]string{"bundle.yaml": spec("1.2.0"), "files/more": "x"}, "version 1.2.0 is not above 1.2.0"},
		{"lower version", map[string]string{"bundle.yaml": spec("1.1.9")}, "version 1.1.9 is not above 1.2.0"},
		{"another app", map[string]string{"bundle.yaml": "app: flags\nversion: 9\n"}, "app flags does not follow app waf"},
		{"grown everywhere", map[string]string{"bundle.yaml": spec("1.3.0"), "files/more": strings.Repeat("x", 100)}, "files: content grows from 89 to 189 bytes, most in more, limits.growth allows 1.5 times"},
		{"grown in one region", map[string]string{"bundle.yaml": spec("1.3.0"), "overlays/eu-west/more": strings.Repeat("x", 100)}, "overlays.eu-west: content grows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Build(dir(t, waf(tt.files)), Options{Previous: old.Manifest})
			if err == nil {
				s.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFileChangedAfterBuild(t *testing.T) {
	root := dir(t, waf(nil))
	s := build1(t, root, Options{})
	d := wire.DigestOf([]byte(waf(nil)["files/rules/xss.conf"]))
	write1(t, root, "files/rules/xss.conf", strings.ToUpper(waf(nil)["files/rules/xss.conf"]))
	r, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), `"files/rules/xss.conf" changed`) {
		t.Fatalf("error %v, want the file's name", err)
	}
}
