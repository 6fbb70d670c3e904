package httppurge

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

const canary = "canary-token-7f3a"

// target is a cache that purges as Souin does: URLs by PURGE, keys by a header,
// everything by a path.
type target struct {
	*httptest.Server
	*cdntest.Cache
	calls atomic.Int64
	last  atomic.Pointer[http.Request]
}

func newTarget(t *testing.T) *target {
	c := &target{Cache: cdntest.NewCache()}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.calls.Add(1)
		c.last.Store(r)
		p := cdntest.Purge{Provider: "http"}
		keys := strings.FieldsFunc(r.Header.Get("Surrogate-Key"), func(r rune) bool { return r == ' ' || r == ',' })
		for _, key := range keys {
			p.Selectors = append(p.Selectors, cdn.Selector{Kind: cdn.Key, Value: key})
		}
		url := "https://" + r.Host + strings.TrimPrefix(r.RequestURI, "/purge")
		switch {
		case r.Header.Get("Authorization") != "Bearer "+canary:
			w.WriteHeader(http.StatusForbidden)
			return
		case r.URL.Path == "/flush":
			p.Selectors = []cdn.Selector{{Kind: cdn.All}}
		case len(keys) == 0 && !c.Has(url):
			w.WriteHeader(http.StatusNotFound)
			return
		case len(keys) == 0:
			p.Selectors = []cdn.Selector{{Kind: cdn.URL, Value: url}}
		}
		c.Apply(p)
	}))
	t.Cleanup(c.Server.Close)
	return c
}

func newPurger(t *testing.T, c Config, instances ...string) *Purger {
	t.Helper()
	c.Groups = map[string][]string{"own": instances}
	if c.Token == "" {
		c.Token = canary
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func purge(t *testing.T, p *Purger, selectors ...string) error {
	t.Helper()
	r := cdn.Request{Scope: "own"}
	for _, text := range selectors {
		s, err := cdn.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Selectors = append(r.Selectors, s)
	}
	receipt, err := p.Purge(t.Context(), r)
	if err != nil && len(receipt.IDs) != 0 {
		t.Errorf("receipt %v with %v", receipt.IDs, err)
	}
	return err
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]Config{
		"only URLs":       {},
		"a key at a time": {KeyHeader: "Surrogate-Key", AllPath: "/flush"},
		"many keys":       {KeyHeader: "Surrogate-Key", KeySeparator: ",", AllPath: "/flush"},
	} {
		t.Run(name, func(t *testing.T) {
			cdntest.Run(t, func(t *testing.T) cdntest.Subject {
				edge := newTarget(t)
				return cdntest.Subject{
					Purger: newPurger(t, c, edge.URL), Scope: "own", Token: canary,
					Calls: func() int { return int(edge.calls.Load()) },
					Put:   func(_ *testing.T, url string, tags ...string) { edge.Put(url, tags...) },
					Has:   func(_ *testing.T, url string) bool { return edge.Has(url) },
				}
			})
		})
	}
}

// What arrives, in the forms that real caches want.
func TestRequests(t *testing.T) {
	for name, test := range map[string]struct {
		config    Config
		path      string // of the instance
		selectors []string
		want      string // method, host, request target
		header    http.Header
	}{
		"Traffic Server": {Config{}, "", []string{"url:https://www.example.com/a%2Fb?x=2&x=1&a=%20"},
			"PURGE www.example.com /a%2Fb?x=2&x=1&a=%20", http.Header{"Authorization": {"Bearer " + canary}}},
		"what net/http escapes": {Config{}, "", []string{"url:https://www.example.com/a|^{}<>`b[1]?x=|"},
			"PURGE www.example.com /a|^{}<>`b[1]?x=|", nil},
		"what net/http escapes behind a path": {Config{Method: "GET"}, "/purge/", []string{"url:https://www.example.com//a|b"},
			"GET www.example.com /purge//a|b", nil},
		"two slashes": {Config{}, "", []string{"url:https://www.example.com//a/b"}, "PURGE www.example.com //a/b", nil},
		"two slashes and what net/http escapes": {Config{}, "", []string{"url:https://www.example.com//a|b?x"},
			"PURGE www.example.com http://www.example.com//a|b?x", nil},
		"no path": {Config{}, "/", []string{"url:https://www.example.com:8443?x"}, "PURGE www.example.com:8443 /?x", nil},
		"nginx": {Config{Method: "GET", TokenHeader: "X-Purge-Token"}, "/purge", []string{"url:http://www.example.com/a"},
			"GET www.example.com /purge/a", http.Header{"X-Purge-Token": {canary}, "Authorization": nil}},
		"Souin keys": {Config{KeyHeader: "Surrogate-Key", KeySeparator: ",", KeyPath: "/api/souin"}, "", []string{"key:a", "key:b"},
			"PURGE own /api/souin", http.Header{"Surrogate-Key": {"a,b"}}},
		"ban": {Config{Method: "BAN", KeyHeader: "X-Key"}, "", []string{"key:a"}, "BAN own /", http.Header{"X-Key": {"a"}}},
		"all": {Config{Method: "POST", AllPath: "/flush?now"}, "/admin/", []string{"all"}, "POST own /admin/flush?now", nil},
	} {
		t.Run(name, func(t *testing.T) {
			edge := newTarget(t)
			p := newPurger(t, test.config, edge.URL+test.path)
			_ = purge(t, p, test.selectors...)
			r := edge.last.Load()
			host := strings.Replace(r.Host, strings.TrimPrefix(edge.URL, "http://"), "own", 1)
			if diff := cmp.Diff(test.want, r.Method+" "+host+" "+r.RequestURI); diff != "" {
				t.Error(diff)
			}
			for name, want := range test.header {
				if diff := cmp.Diff(want, r.Header[name]); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

func TestInstancesAndStatuses(t *testing.T) {
	status := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://"+canary+".example.com/")
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(code)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, test := range map[string]struct {
		config    Config
		instances []string
		class     cdn.Class
		says      string
	}{
		"all good":         {Config{}, []string{status(200), status(204), status(404)}, "", ""},
		"404 not wanted":   {Config{Accept: []int{200}}, []string{status(200), status(404)}, cdn.Refused, "1 of 2 instances of own: http://127.0.0.1"},
		"202 not wanted":   {Config{}, []string{status(202)}, cdn.Refused, "answered 202 Accepted to PURGE"},
		"one not running":  {Config{}, []string{status(200), gone.URL}, cdn.Retryable, "connection refused"},
		"one failing":      {Config{}, []string{status(502), status(200)}, cdn.Retryable, "502"},
		"no such method":   {Config{}, []string{status(405)}, cdn.Refused, "405"},
		"redirect":         {Config{}, []string{status(307)}, cdn.Refused, "307"},
		"wrong token":      {Config{}, []string{status(500), status(403), gone.URL}, cdn.Auth, "3 of 3 instances of own: the token is not accepted"},
		"wait, says one":   {Config{}, []string{gone.URL, status(429), status(200)}, cdn.RateLimited, "retry after 9s"},
		"not worth a wait": {Config{}, []string{status(429), status(401)}, cdn.Auth, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			err := purge(t, newPurger(t, test.config, test.instances...), "url:https://www.example.com/a")
			if test.class == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *cdn.Error
			if !errors.As(err, &e) || e.Class != test.class || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), canary) {
				t.Errorf("error %v, want %s and %q", err, test.class, test.says)
			}
		})
	}
}

func TestSilentInstanceIsUnknown(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	p := newPurger(t, Config{Timeout: 50 * time.Millisecond}, newTarget(t).URL, silent.URL)
	if err := purge(t, p, "url:https://www.example.com/a"); cdn.ClassOf(err) != cdn.Unknown || !strings.Contains(err.Error(), silent.URL+": no answer in time") {
		t.Errorf("error %v, want unknown and the instance", err)
	}
}

func TestConfig(t *testing.T) {
	good := map[string][]string{"own": {"http://10.0.0.1:8080/purge"}}
	for field, c := range map[string]Config{
		"groups is empty":              {},
		`groups["own"] has no`:         {Groups: map[string][]string{"own": nil}},
		`groups["own"]: an`:            {Groups: map[string][]string{"own": {"10.0.0.1"}}},
		`groups["eu"]: an`:             {Groups: map[string][]string{"eu": {"http://u:" + canary + "@10.0.0.1"}}},
		`groups["us"]: an`:             {Groups: map[string][]string{"us": {"http://10.0.0.1/?a=1"}}},
		"method ":                      {Groups: good, Method: "PURGE /x"},
		`method "HEAD" purges nothing`: {Groups: good, Method: "HEAD"},
		`method "options" purges`:      {Groups: good, Method: "options"},
		`method "GET" only reads: groups.own[1] has no path`: {
			Groups: map[string][]string{"own": {"http://10.0.0.1/purge", "http://u:" + canary + "@10.0.0.2/"}}, Method: "GET",
		},
		"accept has the status 302":   {Groups: good, Accept: []int{200, 302}},
		"key_header":                  {Groups: good, KeyHeader: "X Key"},
		`key_header "host" belongs`:   {Groups: good, KeyHeader: "host"},
		`key_header "Content-Length"`: {Groups: good, KeyHeader: "Content-Length"},
		`token_header "Connection"`:   {Groups: good, TokenHeader: "Connection", Token: canary},
		"token_header":                {Groups: good, TokenHeader: "X:"},
		`key_separator "|"`:           {Groups: good, KeySeparator: "|"},
		"key_path":                    {Groups: good, KeyPath: "souin"},
		"all_path":                    {Groups: good, AllPath: "//elsewhere.example.com/"},
		"token has a character":       {Groups: good, Token: canary + "\n"},
		"timeout or gap is negative":  {Groups: good, Gap: -1},
		"timeout or gap is negative ": {Groups: good, Timeout: -1},
	} {
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), "httppurge config: "+strings.TrimSpace(field)) || strings.Contains(err.Error(), canary) {
			t.Errorf("error %v, want %s", err, field)
		}
	}
}
