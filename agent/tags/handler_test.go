package tags_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

func active(epoch wire.Epoch, dir string) *tags.Active {
	g := wire.Generation{App: "shop", Region: "eu-west", Epoch: epoch}
	return &tags.Active{Dir: dir, Identity: tags.Identity{
		Release: fmt.Sprintf("1.4.0-RC1-abcdefabcdef@%d", epoch), App: g.App, Version: "1.4.0-RC1", Epoch: epoch, Region: g.Region, Generation: g.String(),
	}}
}

// answers are what programs do with a ResponseWriter.
var answers = map[string]http.HandlerFunc{
	"/ok":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") },
	"/nothing":  func(http.ResponseWriter, *http.Request) {},
	"/missing":  http.NotFound,
	"/moved":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) },
	"/broken":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
	"/same":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
	"/copied":   func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, strings.NewReader("ok")) },
	"/streamed": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); io.WriteString(w, "ok") },
	"/flushed": func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
	},
	"/hints": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Surrogate-Key", "pages")
	},
	"/keyed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Surrogate-Key", "pages  page-1")
		w.Header().Add("Surrogate-Key", "page-2")
		w.Header().Set("Cache-Tag", "pages, page-1")
		w.Header().Set("X-Ebbgate-Gen", "other.eu-west-9")
	},
	// A tier behind this one shows the same release.
	"/twice": func(w http.ResponseWriter, r *http.Request) { tags.Of(r.Context()).Show(w.Header()) },
}

func TestEveryAnswerShowsTheRelease(t *testing.T) {
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.Handle(path, answer)
	}
	srv := httptest.NewServer(tags.Handler(mux, func() *tags.Active { return active(17, "") }))
	defer srv.Close()
	behind, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	// What a proxy has copied from another server counts as that server's own.
	proxy := httptest.NewServer(tags.Handler(httputil.NewSingleHostReverseProxy(behind), func() *tags.Active { return active(17, "") }))
	defer proxy.Close()
	const ours = "bundle:1.4.0-rc1 region:eu-west gen:shop.eu-west-17"
	for path := range answers {
		want := [4]string{"shop.eu-west-17", "1.4.0-RC1-abcdefabcdef@17", ours, strings.ReplaceAll(ours, " ", ",")}
		switch path {
		case "/keyed":
			want[2], want[3] = want[2]+" pages page-1 page-2", want[3]+",pages,page-1"
		case "/hints":
			want[2] += " pages"
		}
		for _, base := range []string{srv.URL, proxy.URL} {
			for _, method := range []string{"GET", "HEAD"} {
				if got := shown(t, method, base+path).headers; got != want {
					t.Errorf("%s %s: %s", method, base+path, cmp.Diff(want, got))
				}
			}
		}
	}
}

type seen struct {
	status  int
	headers [4]string // generation, release, keys, cache tags; "" unless there is exactly one
	body    string
}

func shown(t *testing.T, method, url string) seen {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { return nil },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := seen{status: res.StatusCode, body: string(body)}
	for i, name := range []string{tags.HeaderGeneration, tags.HeaderRelease, tags.HeaderKeys, tags.HeaderCacheTag} {
		if values := res.Header.Values(name); len(values) == 1 {
			s.headers[i] = values[0]
		}
	}
	return s
}

func TestIdentity(t *testing.T) {
	source := func() *tags.Active { return nil }
	srv := httptest.NewServer(tags.Handler(http.NotFoundHandler(), func() *tags.Active { return source() }))
	defer srv.Close()
	for _, path := range []string{tags.IdentityPath, "/page"} {
		if got := shown(t, "GET", srv.URL+path); got.status != 503 || got.headers != [4]string{} {
			t.Errorf("%s without a release: %v", path, got)
		}
	}
	a := active(17, "/secret")
	source = func() *tags.Active { return a }
	got := shown(t, "GET", srv.URL+tags.IdentityPath)
	if got.status != 200 || got.body != string(a.JSON()) || got.headers[0] != "shop.eu-west-17" || strings.Contains(got.body, "secret") {
		t.Errorf("identity: %+v", got)
	}
}

// A connection that is taken over is the program's own.
func TestHijack(t *testing.T) {
	srv := httptest.NewServer(tags.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Mine: yes\r\n\r\nok")
		rw.Flush()
	}), func() *tags.Active { return active(1, "") }))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "ok" || err != io.EOF || res.Header.Get("X-Mine") != "yes" {
		t.Errorf("%q, %v, %v", line, err, res.Header)
	}
}

func TestOfOutsideOfAHandler(t *testing.T) {
	if a := tags.Of(context.Background()); a != nil {
		t.Errorf("got %v", a)
	}
}
