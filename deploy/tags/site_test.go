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
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// site is one server behind one data plane of kind files, as the agent would run it.
type site struct {
	server
	t         *testing.T
	path      string // of the server
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
	s := &site{server: servers[name], t: t, dir: t.TempDir(), addr: servertest.FreeAddress(t), admin: servertest.FreeAddress(t), edit: func(s string) string { return s }}
	if s.binary != "" {
		s.path = servertest.Find(t, s.binary)
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
