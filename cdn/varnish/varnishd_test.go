package varnish

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const canary = "canary-token-7f3a"

// origin serves what a test set, and counts.
type origin struct {
	*httptest.Server

	mu      sync.Mutex
	header  map[string]http.Header   // host and URL → response header; guarded by mu
	fetches map[string]int           // host and URL → requests; guarded by mu
	holds   map[string]chan struct{} // host and URL → answer only when closed; guarded by mu
	held    chan struct{}            // a request is being held
	foreign int                      // requests that are not GET; guarded by mu
}

func newOrigin(t *testing.T) *origin {
	o := &origin{header: map[string]http.Header{}, fetches: map[string]int{}, holds: map[string]chan struct{}{}, held: make(chan struct{}, 8)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := r.Host + r.URL.RequestURI()
		o.mu.Lock()
		if r.Method != http.MethodGet {
			o.foreign++
		}
		o.fetches[at]++
		h, hold := o.header[at], o.holds[at]
		o.mu.Unlock()
		if hold != nil {
			o.held <- struct{}{}
			<-hold
		}
		for name, values := range h {
			w.Header()[name] = values
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintln(w, at)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(at string, h http.Header) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.header[at] = h
}

// hold makes the next answers for at wait until the returned function runs.
func (o *origin) hold(at string) (release func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	gate := make(chan struct{})
	o.holds[at] = gate
	return func() {
		o.mu.Lock()
		delete(o.holds, at)
		o.mu.Unlock()
		close(gate)
	}
}

// varnishd starts the real daemon with the shipped VCL on a free port.
func varnishd(t *testing.T, backend string) (base string) {
	t.Helper()
	binary, err := exec.LookPath("varnishd")
	if err != nil {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	shipped, err := os.ReadFile("../../deploy/varnish/ebbgate.vcl")
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(dir, "ebbgate.token")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(tokenFile, canary+"\n")
	write(filepath.Join(dir, "ebbgate.vcl"), strings.ReplaceAll(string(shipped), "/etc/varnish/ebbgate.token", tokenFile))
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(backend, "http://"))
	write(filepath.Join(dir, "main.vcl"), fmt.Sprintf(`vcl 4.1;
include "%s/ebbgate.vcl";
backend default { .host = "%s"; .port = "%s"; }
sub vcl_miss { if (req.http.Cache-Control == "only-if-cached") { return (synth(504)); } }
`, dir, host, port))

	address := freeAddress(t)
	var log bytes.Buffer
	cmd := exec.Command(binary, "-F", "-j", "none", "-n", filepath.Join(dir, "work"), "-a", address,
		"-T", "none", "-f", filepath.Join(dir, "main.vcl"), "-s", "malloc,16m", "-p", "ban_lurker_sleep=0.01",
		"-p", "thread_pool_min=5", "-p", "thread_pools=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("varnishd: %s", log.String())
		}
	})
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "http://" + address
		}
		select {
		case <-exited:
			t.Fatalf("varnishd ended: %s", log.String())
		case <-deadline:
			t.Fatal("varnishd does not listen after 30 s")
		case <-tick.C:
		}
	}
}

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// get asks one instance for a URL; with onlyIfCached a miss is 504 and fills
// nothing.
func get(t *testing.T, base, url string, onlyIfCached bool) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = req.URL.Host
	req.URL.Host = strings.TrimPrefix(base, "http://")
	req.URL.Scheme = "http"
	if onlyIfCached {
		req.Header.Set("Cache-Control", "only-if-cached")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

func cached(t *testing.T, base, url string) bool {
	t.Helper()
	return get(t, base, url, true).StatusCode == http.StatusOK
}

// fill sets what the origin answers for url, and puts that into the caches.
func fill(t *testing.T, o *origin, url string, h http.Header, bases ...string) {
	t.Helper()
	o.serve(url[strings.Index(url, "://")+3:], h)
	for _, base := range bases {
		get(t, base, url, false)
		if !cached(t, base, url) {
			t.Fatalf("%s is not cached", url)
		}
	}
}

func tagged(tags ...string) http.Header {
	return http.Header{"Surrogate-Key": {strings.Join(tags, " ")}}
}
