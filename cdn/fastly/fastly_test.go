package fastly

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

const canary = "canary-token-7f3a"

func start(t *testing.T, c cdntest.FastlyConfig) (*cdntest.Fastly, *Purger) {
	t.Helper()
	c.Token = canary
	if c.Services == nil {
		c.Services = []string{"SU1Z0isxPaozGVKXdv0eY"}
	}
	remote := cdntest.NewFastly(c)
	return remote, dial(t, remote)
}

func dial(t *testing.T, remote http.Handler) *Purger {
	t.Helper()
	server := httptest.NewServer(remote)
	t.Cleanup(server.Close)
	p, err := New(Config{
		Token: canary, Endpoint: server.URL, Timeout: 5 * time.Second,
		Fences: map[string]string{service: dictionary}, Spread: spread,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	service    = "SU1Z0isxPaozGVKXdv0eY"
	dictionary = "3vjTN8v1O7nOAY7aNDGOL"
	spread     = 60 * time.Millisecond
)

func keys(values ...string) cdn.Request {
	r := cdn.Request{Scope: service}
	for _, v := range values {
		r.Selectors = append(r.Selectors, cdn.Selector{Kind: cdn.Key, Value: v})
	}
	return r
}

func TestConformance(t *testing.T) {
	cdntest.Run(t, func(t *testing.T) cdntest.Subject {
		edge := cdntest.NewCache()
		remote, p := start(t, cdntest.FastlyConfig{OnPurge: edge.Apply, Spread: spread})
		return cdntest.Subject{
			Keeps:  func(_ *testing.T, gen string) bool { return obeys(remote, gen) },
			Purger: p, Scope: service, Token: canary, Calls: remote.Calls,
			Put: func(_ *testing.T, url string, tags ...string) { edge.Put(url, tags...) },
			Has: func(_ *testing.T, url string) bool { return edge.Has(url) },
		}
	})
}

// go-fastly keeps one value of a repeated parameter and sorts the names.
func TestURLKeepsItsQuery(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{})
	for _, want := range []string{
		"https://www.example.com/a?tag=2&tag=1&a=%20x",
		"https://www.example.com/a%2Fb",
		"https://www.example.com//a|^{}<>`[1]?x=|",
		"https://www.example.com/",
	} {
		s := cdn.Selector{Kind: cdn.URL, Value: want}
		if _, err := p.Purge(t.Context(), cdn.Request{Scope: service, Selectors: []cdn.Selector{s}}); err != nil {
			t.Fatal(err)
		}
		purges := remote.Purges()
		if diff := cmp.Diff([]cdn.Selector{s}, purges[len(purges)-1].Selectors); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSoft(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{})
	url := cdn.Request{Scope: service, Selectors: []cdn.Selector{{Kind: cdn.URL, Value: "https://www.example.com/a"}}}
	for _, r := range []cdn.Request{keys("a"), url} {
		r.Soft = true
		if _, err := p.Purge(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, purge := range remote.Purges() {
		if !purge.Soft {
			t.Errorf("%v was not soft", purge.Selectors)
		}
	}
	_, err := p.Purge(t.Context(), cdn.Request{Scope: service, Soft: true, Selectors: []cdn.Selector{{Kind: cdn.All}}})
	if cdn.ClassOf(err) != cdn.Refused {
		t.Errorf("soft purge of everything: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault cdntest.Fault
		class cdn.Class
		after time.Duration
		done  bool
	}{
		"too many":        {cdntest.Fault{Status: 429, RetryAfter: "7"}, cdn.RateLimited, 7 * time.Second, false},
		"absurd wait":     {cdntest.Fault{Status: 429, RetryAfter: "86400"}, cdn.RateLimited, 5 * time.Minute, false},
		"server error":    {cdntest.Fault{Status: 503, RetryAfter: "2"}, cdn.Retryable, 2 * time.Second, false},
		"bad token":       {cdntest.Fault{Status: 401, Message: "key " + canary + " is wrong"}, cdn.Auth, 0, false},
		"no permission":   {cdntest.Fault{Status: 403}, cdn.Auth, 0, false},
		"bad request":     {cdntest.Fault{Status: 400, Message: "line\nbreak"}, cdn.Refused, 0, false},
		"lost request":    {cdntest.Fault{LoseRequest: true}, cdn.Unknown, 0, false},
		"lost reply":      {cdntest.Fault{LoseReply: true}, cdn.Unknown, 0, true},
		"not JSON":        {cdntest.Fault{Body: "<html>"}, cdn.Unknown, 0, false},
		"wrong JSON":      {cdntest.Fault{Body: `["ok"]`}, cdn.Unknown, 0, false},
		"null":            {cdntest.Fault{Body: `null`}, cdn.Unknown, 0, false},
		"endless":         {cdntest.Fault{Body: `{"rules":"108-1"}` + strings.Repeat(" ", 2<<20)}, cdn.Unknown, 0, false},
		"ids of no key":   {cdntest.Fault{Body: `{"status":"ok"}`}, cdn.Unknown, 0, false},
		"redirect":        {cdntest.Fault{Status: 302}, cdn.Refused, 0, false},
		"service unknown": {cdntest.Fault{Status: 404}, cdn.NotFound, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			remote, p := start(t, cdntest.FastlyConfig{})
			remote.Inject(test.fault)
			_, err := p.Purge(t.Context(), keys("rules"))
			if e := cdntest.Failed(t, p, err, test.class, canary); e != nil && e.RetryAfter != test.after {
				t.Errorf("after %s, want %s: %v", e.RetryAfter, test.after, err)
			}
			if done := len(remote.Purges()) == 1; done != test.done {
				t.Errorf("purge done: %v", done)
			}
			if remote.Calls() != 1 {
				t.Errorf("%d calls, want one attempt", remote.Calls())
			}
		})
	}
}

func TestPartialAnswer(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{})
	remote.Inject(cdntest.Fault{OmitKeys: []string{"b"}})
	receipt, err := p.Purge(t.Context(), keys("a", "b", "c"))
	if cdn.ClassOf(err) != cdn.Unknown {
		t.Errorf("error %v, want unknown", err)
	}
	if _, ok := receipt.IDs[cdn.Selector{Kind: cdn.Key, Value: "b"}]; ok || len(receipt.IDs) != 2 {
		t.Errorf("receipt %v, want a and c", receipt.IDs)
	}
}

func TestTimeoutIsUnknown(t *testing.T) {
	remote := cdntest.NewFastly(cdntest.FastlyConfig{Token: canary})
	server := httptest.NewServer(remote)
	defer server.Close()
	p, err := New(Config{Token: canary, Endpoint: server.URL, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	remote.Inject(cdntest.Fault{Delay: time.Minute})
	if _, err = p.Purge(t.Context(), keys("rules")); cdn.ClassOf(err) != cdn.Unknown {
		t.Errorf("error %v, want unknown", err)
	}
}

// A purge that hangs must not hold up another one of the same service: the
// library's lock ignores the context.
func TestHangingPurgeBlocksNobody(t *testing.T) {
	remote := cdntest.NewFastly(cdntest.FastlyConfig{Token: canary})
	arrived := make(chan struct{}, 1)
	hang := true
	p := dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang {
			hang = false
			arrived <- struct{}{}
			<-r.Context().Done()
			return
		}
		remote.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	all := cdn.Request{Scope: service, Selectors: []cdn.Selector{{Kind: cdn.All}}}
	wg.Go(func() { _, _ = p.Purge(ctx, all) })
	<-arrived
	for _, r := range []cdn.Request{all, keys("rules")} {
		if _, err := p.Purge(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

// A redirect to another host must not carry the token along.
func TestRedirectDoesNotCarryTheToken(t *testing.T) {
	asked := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer thief.Close()
	p := dial(t, http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	if _, err := p.Purge(t.Context(), keys("rules")); cdn.ClassOf(err) != cdn.Refused || asked {
		t.Errorf("error %v, redirect followed: %v", err, asked)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no token":         {},
		"token with break": {Token: canary + "\n"},
		"endpoint":         {Token: canary, Endpoint: "api.fastly.com"},
		"timeout":          {Token: canary, Timeout: -1},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"rules":"108-1","flags":"108-2"}`)
	f.Add(200, `{"status":"ok","id":"1"}`)
	f.Add(400, `{"msg":"Bad request","detail":"x"}`)
	f.Add(500, `{"errors":[{"index":1}]}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		p, err := New(Config{Token: canary})
		if err != nil {
			t.Fatal(err)
		}
		p.client.HTTPClient.Transport = canned{status, body}
		receipt, err := p.Purge(t.Context(), keys("rules"))
		if (err == nil) != (len(receipt.IDs) == 1) {
			t.Errorf("receipt %v with error %v", receipt.IDs, err)
		}
		if err == nil && !strings.Contains(body, "rules") {
			t.Errorf("accepted without an id: %q", body)
		}
	})
}

type canned struct {
	status int
	body   string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.WriteHeader(c.status)
	_, _ = w.WriteString(c.body)
	return w.Result(), nil
}
