package dataplane

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

func TestBuiltinAnswers(t *testing.T) {
	p := newPlane(t, KindBuiltin)
	p.cfg.Listen = "127.0.0.1:0"
	d := p.open(t)
	if a, err := get(t.Context(), d.Traits().URL+"/"); err != nil || a.status != 503 {
		t.Fatalf("before the first release: %d, %v", a.status, err)
	}
	r := p.release(t, 17, map[string]string{
		"site/page": "page", "site/index.html": "home", "site/css/index.html": "styles", "site/.ebbgate-x": "secret",
		"other": "not in site",
		"builtin.json": `{"respond":[{"path":"/api","status":500,"body":"no","headers":{"X-Why":"broken"}}],
			"surrogate_keys":{"css/**":["styles"],"**":["all"]}}`,
	})
	p.switchTo(t, d, r)
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/page", 200, "page"}, {"/", 200, "home"}, {"/css/", 200, "styles"}, {"/api", 500, "no"},
		{"/css", 404, "not found\n"}, {"/other", 404, "not found\n"}, {"/../other", 404, "not found\n"},
		{"/.ebbgate-x", 404, "not found\n"}, {"/builtin.json", 404, "not found\n"},
		{"/%2e%2e/other", 404, "not found\n"}, {"/page/", 404, "not found\n"},
	} {
		a, err := get(t.Context(), d.Traits().URL+tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{tt.status, tt.body}, []any{a.status, string(a.body)}); diff != "" {
			t.Errorf("%s: %s", tt.path, diff)
		}
		if err := showsHeaders(a.header, r); err != nil {
			t.Errorf("%s: %v", tt.path, err)
		}
	}
	a, err := get(t.Context(), d.Traits().URL+"/css/")
	if err != nil {
		t.Fatal(err)
	}
	want := "bundle:1.17 region:eu-west gen:shop.eu-west-17 all all@eu-west-17 styles styles@eu-west-17"
	if got := a.header.Get("Surrogate-Key"); got != want {
		t.Errorf("Surrogate-Key %q, want %q", got, want)
	}
	if got := a.header.Get("Cache-Tag"); got != strings.ReplaceAll(want, " ", ",") {
		t.Errorf("Cache-Tag %q", got)
	}
	if got := a.header.Get("Last-Modified"); got != "" {
		t.Errorf("Last-Modified %q", got)
	}
	if a, err = get(t.Context(), d.Traits().URL+tags.IdentityPath); err != nil || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the identity can be cached: %v, %v", a.header, err)
	}
	res, err := http.Post(d.Traits().URL+"/page", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

// An answer that is on its way when its release is replaced comes from that release to
// its end, and the directory is let go only then.
func TestBuiltinFinishesWithTheReleaseItBeganWith(t *testing.T) {
	p := newPlane(t, KindBuiltin)
	d := p.open(t)
	big := strings.Repeat("1", 32<<20)
	one, two := p.release(t, 1, map[string]string{"site/page": big}), p.release(t, 2, p.good("two"))
	p.switchTo(t, d, one)
	b := d.(*builtin)
	b.mu.Lock()
	first := b.live
	b.mu.Unlock()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, d.Traits().URL+"/page"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p.switchTo(t, d, two)
	if got := first.users.Load(); got != 1 {
		t.Errorf("%d users of the old release, want the one request", got)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != big {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	for end := 1000; first.users.Load() != 0 && end > 0; end-- {
		if _, err := get(t.Context(), d.Traits().URL+"/page"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.root.Open("site/page"); err == nil {
		t.Error("the old release is still held open")
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestBuiltinRulesRefuse(t *testing.T) {
	for in, want := range map[string]string{
		`{"respond":[{"path":"api","status":200}]}`:                                      "respond[0].path",
		`{"respond":[{"path":"/a","status":200},{"path":"/a","status":200}]}`:            "respond[1].path",
		`{"respond":[{"path":"/.well-known/ebbgate","status":200}]}`:                     "respond[0].path",
		`{"respond":[{"path":"/a","status":100}]}`:                                       "respond[0].status",
		`{"respond":[{"path":"/a","status":200,"headers":{"a b":"c"}}]}`:                 "respond[0].headers",
		`{"respond":[{"path":"/a","status":200,"headers":{"A":"b\r\nC: d"}}]}`:           "respond[0].headers",
		`{"respond":[{"path":"/a","status":200,"headers":{"x-ebbgate-release":"1.0"}}]}`: "respond[0].headers",
		`{"surrogate_keys":{"[":["k"]}}`:                                                 "surrogate_keys",
		`{"surrogate_keys":{"*":["a b"]}}`:                                               "surrogate_keys.*",
		`{"surrogate_keys":{"*":["café"]}}`:                                              "surrogate_keys.*",
		`{"surrogate_keys":{"*":["a\tb"]}}`:                                              "surrogate_keys.*",
		`{"more":1}`:                                                                     "more",
		`{"respond":[],"respond":[]}`:                                                    "respond",
	} {
		_, err := parseBuiltinRules([]byte(in))
		if !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
}

// What HTTP allows in a header is allowed.
func TestBuiltinRulesAcceptsAnyHeader(t *testing.T) {
	for _, in := range []string{
		`{"respond":[{"path":"/a","status":200,"headers":{"X.Y":"b"}}]}`,
		`{"respond":[{"path":"/a","status":200,"headers":{"X!~":"café"}}]}`,
	} {
		if _, err := parseBuiltinRules([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzBuiltinRules(f *testing.F) {
	f.Add([]byte(`{"respond":[{"path":"/api","status":500,"body":"x","headers":{"A":"b"}}],"surrogate_keys":{"**":["k"]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		rules, err := parseBuiltinRules(in)
		if err != nil {
			return
		}
		for _, key := range rules.keys("/a/b", wire.Generation{App: "shop", Region: "eu", Epoch: 1}) {
			if strings.ContainsAny(key, " ,\r\n") {
				t.Errorf("%q gives key %q", in, key)
			}
		}
	})
}
