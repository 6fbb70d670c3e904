package varnish

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/varnish/varnishtest"
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
	serial  atomic.Int64             // of URLs that are used once
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
	return varnishdIn(t, "", backend)
}

// varnishdIn is varnishd with its files in dir.
func varnishdIn(t *testing.T, dir, backend string) (base string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(backend, "http://"))
	return varnishtest.Start(t, varnishtest.Config{Token: canary, Dir: dir, VCL: fmt.Sprintf(`
backend default { .host = "%s"; .port = "%s"; }
sub vcl_miss { if (req.http.Cache-Control == "only-if-cached") { return (synth(504)); } }
`, host, port)})
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

// keeps has an instance fetch a response of a generation under a URL of its own.
func keeps(t *testing.T, o *origin, base, gen string) bool {
	t.Helper()
	path := fmt.Sprintf("www.example.com/gen/%d", o.serial.Add(1))
	h := http.Header{}
	if gen != "" {
		h.Set("X-Ebbgate-Gen", gen)
	}
	o.serve(path, h)
	get(t, base, "http://"+path, false)
	return cached(t, base, "http://"+path)
}
