package tags_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// server is one snippet with the server it is for.
type server struct {
	snippet string // file here; in the bundle with .ebbgate behind its name
	binary  string
	// routes are what the snippet's user adds: /page, whose body is the release's version,
	// /moved, /denied and /broken by the server itself, and /api/ by the origin.
	routes string
	// command runs the server in the foreground; reload is its hook.
	command, reload func(s *site) []string
	oneHeader       bool // sees only the first of several headers of one name
	missing         string
}

// servers are all snippets. net/http runs in the test itself.
var servers = map[string]server{
	"nginx": {
		snippet: "nginx.conf", binary: "nginx", oneHeader: true, missing: "/missing",
		routes: `
			location = /page { default_type text/plain; }
			location = /moved { return 301 /page; }
			location = /denied { deny all; }
			location = /broken { proxy_pass http://DEAD; }
			location /api/ { proxy_pass http://ORIGIN; }`,
		command: func(s *site) []string {
			main := filepath.Join(s.dir, "main.conf")
			s.write(main, "user root; daemon off; pid "+s.dir+"/pid; error_log stderr crit; events {}\n"+
				"http { access_log off; include "+s.live("nginx.conf")+"; }\n")
			return []string{"nginx", "-e", "stderr", "-c", main}
		},
		reload: func(s *site) []string {
			return []string{"/usr/sbin/nginx", "-e", "stderr", "-c", s.dir + "/main.conf", "-s", "reload"}
		},
	},
	"haproxy": {
		snippet: "haproxy.cfg", binary: "haproxy", missing: "/api/missing",
		routes: `
	http-request return status 200 content-type text/plain file "${EBBGATE_DIR}/site/page" if { path /page }
	http-request redirect location /page if { path /moved }
	http-request deny if { path /denied }
	use_backend dead if { path /broken }
	default_backend origin
backend origin
	server s ORIGIN
backend dead
	retries 0
	server s DEAD
`,
		command: func(s *site) []string {
			return []string{"haproxy", "-W", "-p", s.dir + "/pid", "-f", s.live("haproxy.cfg")}
		},
		reload: func(s *site) []string { return []string{"/bin/sh", "-c", "kill -USR2 $(cat " + s.dir + "/pid)"} },
	},
	"caddy": {
		snippet: "Caddyfile", binary: "caddy", missing: "/missing",
		routes: `
	redir /moved /page
	respond /denied 403
	reverse_proxy /broken DEAD
	reverse_proxy /api/* ORIGIN
	file_server
`,
		command: func(s *site) []string { return []string{"caddy", "run", "--config", s.live("Caddyfile")} },
		reload: func(s *site) []string {
			return []string{"/usr/bin/caddy", "reload", "--config", s.live("Caddyfile"), "--address", s.admin}
		},
	},
	"varnish": {
		snippet: "varnish.vcl", binary: "varnishd", missing: "/api/missing",
		routes: `
backend origin { .host = "ORIGIN_HOST"; .port = "ORIGIN_PORT"; }
backend dead { .host = "DEAD_HOST"; .port = "DEAD_PORT"; }
sub vcl_recv {
	if (req.url == "/moved") { return (synth(301)); }
	if (req.url == "/denied") { return (synth(403)); }
	if (req.url == "/broken") { set req.backend_hint = dead; }
	if (req.url == "/page") { return (pass); }
}
sub vcl_backend_fetch { set bereq.http.Want = "@version@"; }
sub vcl_backend_response { if (bereq.url == "/api/short") { set beresp.ttl = 0.1s; set beresp.grace = 1h; set beresp.keep = 1h; } }
sub vcl_synth { if (resp.status == 301) { set resp.http.Location = "/page"; } }
`,
		command: func(s *site) []string {
			return []string{"varnishd", "-F", "-j", "none", "-n", s.dir + "/work", "-a", s.addr, "-f", s.live("varnish.vcl"),
				"-s", "malloc,16m", "-p", "thread_pools=1", "-p", "thread_pool_min=5"}
		},
		reload: func(s *site) []string {
			hook, err := filepath.Abs("reload-varnish")
			if err != nil {
				s.t.Fatal(err)
			}
			return []string{hook, s.live("varnish.vcl"), "-n", s.dir + "/work"}
		},
	},
	"net-http": {missing: "/missing"},
}

// site is one server behind one data plane of kind files, as the agent would run it.
type site struct {
	server
	t         *testing.T
	dir       string // of the test
	addr      string
	admin     string
	origin    *httptest.Server
	confirmed atomic.Int64 // answers 304 of the origin
	plane     dataplane.Driver
	cfg       dataplane.Config
	edit      func(snippet string) string // what a user changes in the snippet
}

func newSite(t *testing.T, name string) *site {
	t.Helper()
	s := &site{server: servers[name], t: t, dir: t.TempDir(), addr: freeAddr(t), admin: freeAddr(t), edit: func(s string) string { return s }}
	if s.binary != "" {
		if _, err := exec.LookPath(s.binary); err != nil {
			if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s.origin = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.origin.Close)
	s.cfg = dataplane.Config{
		App: "shop", Region: "eu-west", Kind: dataplane.KindFiles, Dir: s.dir + "/plane", Current: s.dir + "/current",
		URL: "http://" + s.addr, ConfirmURL: "http://" + s.addr + tags.IdentityPath,
	}
	if s.reload != nil {
		s.cfg.Hooks = map[string]dataplane.Hook{"reload": {Argv: s.reload(s)}}
	}
	var err error
	if s.plane, err = dataplane.New(s.cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) live(name string) string { return filepath.Join(s.dir, "plane/live", name) }

func (s *site) write(path, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// release is a bundle as it lies on the node: one page, and the snippet as its user has
// completed it.
func (s *site) release(epoch wire.Epoch, version wire.Version) dataplane.Release {
	s.t.Helper()
	digest := wire.DigestOf([]byte(epoch.String() + " " + string(version)))
	r := dataplane.Release{App: "shop", Region: "eu-west", Epoch: epoch, Version: version, Digest: digest,
		Dir: filepath.Join(s.dir, "releases", digest.String())}
	if s.reload != nil {
		r.Hooks = []string{"reload"}
	}
	s.write(r.Dir+"/site/page", string(version))
	if s.snippet == "" {
		return r
	}
	shipped, err := os.ReadFile(s.snippet)
	if err != nil {
		s.t.Fatal(err)
	}
	origin, dead := s.origin.Listener.Addr().String(), "127.0.0.1:9"
	routes := strings.NewReplacer("ORIGIN_HOST", host(origin), "ORIGIN_PORT", port(origin), "DEAD_HOST", host(dead),
		"DEAD_PORT", port(dead), "ORIGIN", origin, "DEAD", dead).Replace(s.routes)
	text := s.edit(string(shipped))
	for _, change := range [][2]string{{"127.0.0.1:8080", s.addr}, {"127.0.0.1:2019", s.admin}} {
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	before, after, found := strings.Cut(text, "Yours from here on.")
	if !found {
		s.t.Fatalf("%s has no place for what is its user's", s.snippet)
	}
	rest, end, _ := strings.Cut(after, "\n")
	s.write(filepath.Join(r.Dir, s.snippet+dataplane.TemplateSuffix), before+"Yours from here on."+rest+"\n"+routes+end)
	return r
}

// activate does what the agent does, in its order. The first activation has no server to
// reload yet, and starts it.
func (s *site) activate(r dataplane.Release) {
	s.t.Helper()
	if err := s.plane.Validate(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
	first := false
	if _, err := os.Lstat(s.cfg.Current); err != nil {
		first, r.Hooks = true, nil
	}
	flip(s.t, s.cfg.Current, r.Dir)
	if err := s.plane.Activate(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
	if first {
		s.start()
	}
	if _, err := s.plane.Confirm(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

func flip(t *testing.T, link, to string) {
	t.Helper()
	if err := os.Symlink(to, link+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".next", link); err != nil {
		t.Fatal(err)
	}
}

func (s *site) start() {
	s.t.Helper()
	if s.command == nil {
		s.serve()
		return
	}
	argv := s.command(s)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if s.t.Failed() {
			s.t.Logf("%s: %s", s.binary, log.String())
		}
	})
}

// serve is a program of one's own.
func (s *site) serve() {
	s.t.Helper()
	to := func(text string) http.Handler {
		u, err := url.Parse(text)
		if err != nil {
			s.t.Fatal(err)
		}
		return httputil.NewSingleHostReverseProxy(u)
	}
	mux := http.NewServeMux()
	mux.Handle("/moved", http.RedirectHandler("/page", http.StatusFound))
	mux.Handle("/broken", to("http://127.0.0.1:9"))
	mux.Handle("/api/", to(s.origin.URL))
	mux.HandleFunc("/denied", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.FileServer(http.Dir(tags.Of(r.Context()).Dir+"/site")).ServeHTTP(w, r)
	})
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: tags.Handler(mux, tags.Open(filepath.Join(s.cfg.Dir, dataplane.ActiveFile)).Active)}
	go srv.Serve(ln)
	s.t.Cleanup(func() { srv.Close() })
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func host(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }
func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

// answer is of the origin that a data plane may have behind it, with tags of its own.
func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", `"1"`)
	switch r.URL.Path {
	case "/page":
		fmt.Fprint(w, r.Header.Get("Want"))
	case "/api/keyed", "/api/short":
		if r.Header.Get("If-None-Match") != "" {
			s.confirmed.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Surrogate-Key", "pages page-1")
		h.Set("Cache-Tag", "pages,page-1")
		h.Set(tags.HeaderGeneration, "other.eu-west-99")
		h.Set(tags.HeaderRelease, "9-000000000000@99")
		fmt.Fprint(w, "keyed")
	case "/api/several":
		h.Add("Surrogate-Key", "pages")
		h.Add("Surrogate-Key", "page-1")
		h.Add("Cache-Tag", "pages")
		h.Add("Cache-Tag", "page-1")
		fmt.Fprint(w, "several")
	case "/api/broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	default:
		http.NotFound(w, r)
	}
}
