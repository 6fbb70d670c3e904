package dataplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

var renderRelease = Release{
	App: "shop", Region: "eu-west", Epoch: 17, Version: "1.4.0", Digest: wire.DigestOf([]byte("x")), Dir: "/r/abc",
}

func renderer(version wire.Version) *nginx {
	return &nginx{version: version, cfg: Config{
		Dir: "/s", Listen: "127.0.0.1:80", Current: "/apps/shop/current", PIDFile: "/s/nginx.pid",
	}}
}

func TestRender(t *testing.T) {
	for _, version := range []wire.Version{"1.22.1", "1.27.4"} {
		t.Run(string(version), func(t *testing.T) {
			in := "events {}\nhttp { server {\n\tlisten @listen@; include @ebbgate@;\n" +
				"\tlocation /x { add_header A b; include @headers@; alias @release@/x; try_files $uri @other; }\n" +
				"\tmap $upstream_http_surrogate_key $keys { default \"@tags@ $upstream_http_surrogate_key\"; \"\" \"@tags@\"; }\n" +
				"} } # @app@ @region@ @epoch@ @version@ @state@ @generation@ @release-id@ @cache-tags@\n"
			out, err := renderer(version).render([]byte(in), renderRelease, "/s/live", "/s/error.log")
			if err != nil {
				t.Fatal(err)
			}
			got := string(out.conf) + "--- snippet\n" + string(out.snippet) + "--- headers\n" + string(out.headers)
			golden := filepath.Join("testdata", "render-"+string(version)+".txt")
			if os.Getenv("UPDATE_GOLDEN") == "1" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"http {}":                                       "no server block has `include @ebbgate@;`",
		"include @ebbgate@;\nroot @relase@;":            "nginx.conf:2: placeholder @relase@ is unknown",
		"include @ebbgate@;\n daemon off;":              "nginx.conf:2: daemon is the node's to decide",
		"include @ebbgate@;\nmaster_process off;":       "nginx.conf:2: master_process is the node's",
		"pid /run/nginx.pid; include @ebbgate@;":        "nginx.conf:1: pid is /run/nginx.pid, this node's is /s/nginx.pid",
		"include @ebbgate@;\nroot /apps/shop/current/x": "nginx.conf:2: /apps/shop/current changes under the running server",
	} {
		if _, err := renderer("1.22.1").render([]byte(in), renderRelease, "/s/live", "/s/error.log"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
	for _, in := range []string{"pid @state@/nginx.pid; include @ebbgate@;", "# daemon off;\ninclude @ebbgate@;"} {
		if out, err := renderer("1.22.1").render([]byte(in), renderRelease, "/s/live", "/s/error.log"); err != nil {
			t.Errorf("%q: %v", in, err)
		} else if n := strings.Count(string(out.conf), "pid /s/nginx.pid;"); n != 1 {
			t.Errorf("%q: %d pid directives", in, n)
		}
	}
	spaced := renderRelease
	spaced.Dir = "/r/a b; include /etc/passwd"
	if _, err := renderer("1.22.1").render([]byte("include @ebbgate@;"), spaced, "/s/live", "/s/error.log"); err == nil {
		t.Error("a directory with a semicolon: no error")
	}
}

func FuzzRender(f *testing.F) {
	f.Add([]byte("listen @listen@; include @ebbgate@;"))
	f.Add([]byte("pid x; @x@ @@ @ebbgate@"))
	known, err := renderRelease.placeholders()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := renderer("1.22.1").render(in, renderRelease, "/s/live", "/s/error.log")
		if err != nil {
			return
		}
		for name := range known {
			if strings.Contains(string(out.conf), name) {
				t.Errorf("%q leaves %s in %q", in, name, out.conf)
			}
		}
	})
}
