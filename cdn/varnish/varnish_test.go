package varnish

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/varnish/varnishtest"
	"github.com/ebbgate/ebbgate/internal/servertest"
)

func newPurger(t *testing.T, token string, instances ...string) *Purger {
	t.Helper()
	p, err := New(Config{Groups: map[string][]string{"own": instances}, Token: token, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func purge(t *testing.T, p *Purger, soft bool, selectors ...string) error {
	t.Helper()
	r := cdn.Request{Scope: "own", Soft: soft}
	for _, text := range selectors {
		s, err := cdn.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Selectors = append(r.Selectors, s)
	}
	receipt, err := p.Purge(t.Context(), r)
	if err != nil && len(receipt.IDs) != 0 { // nothing is accepted unless everywhere
		t.Errorf("receipt %v with %v", receipt.IDs, err)
	}
	return err
}

// counter counts the requests that leave the Purger.
type counter struct {
	next  http.RoundTripper
	calls atomic.Int64
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return c.next.RoundTrip(r)
}

func TestConformance(t *testing.T) {
	o := newOrigin(t)
	base := varnishd(t, o.URL)
	cdntest.Run(t, func(t *testing.T) cdntest.Subject {
		p := newPurger(t, canary, base)
		if err := purge(t, p, false, "all"); err != nil {
			t.Fatal(err)
		}
		count := &counter{next: p.client.Transport}
		p.client.Transport = count
		return cdntest.Subject{
			Purger: p, Scope: "own", Token: canary,
			Calls: func() int { return int(count.calls.Load()) },
			Put:   func(t *testing.T, url string, tags ...string) { fill(t, o, url, tagged(tags...), base) },
			Has:   func(t *testing.T, url string) bool { return cached(t, base, url) },
			Keeps: func(t *testing.T, gen string) bool { return keeps(t, o, base, gen) },
		}
	})
}

func TestSelectorsOnSeveralInstances(t *testing.T) {
	o := newOrigin(t)
	bases := []string{varnishd(t, o.URL), varnishd(t, o.URL)}
	p := newPurger(t, canary, bases...)
	const site = "http://www.example.com"
	urls := []string{
		site + "/rules/a.json", site + "/rules/a.json?x=1&y=2", site + "/rulesXa.json",
		site + "/flags/b+c.json", "http://other.example.com/rules/a.json",
	}
	for selector, gone := range map[string][]string{
		"key:rules":                    {urls[0], urls[1]},
		"url:" + urls[0]:               {urls[0]},
		"url:" + urls[1]:               {urls[1]},
		"url:" + urls[3]:               {urls[3]},
		"prefix:www.example.com/rules": {urls[0], urls[1], urls[2]},
		"prefix:www.example.com/rules/a.": {
			urls[0], urls[1],
		},
		"prefix:www.example.com/flags/b+": {urls[3]},
		"prefix:www.example.com/rules.":   nil, // a dot is a dot, not any character
		"host:www.example.com":            urls[:4],
		"all":                             urls,
	} {
		t.Run(selector, func(t *testing.T) {
			for i, url := range urls {
				tag := "other"
				if i < 2 {
					tag = "rules"
				}
				fill(t, o, url, tagged(tag, "everything"), bases...)
			}
			if err := purge(t, p, false, selector); err != nil {
				t.Fatal(err)
			}
			for _, url := range urls {
				want := true
				for _, g := range gone {
					want = want && g != url
				}
				for i, base := range bases {
					if cached(t, base, url) != want {
						t.Errorf("instance %d: %s cached: %v, want %v", i, url, !want, want)
					}
				}
			}
		})
	}
}

// A soft purge keeps the object for grace and fetches a new one behind it.
func TestSoftPurge(t *testing.T) {
	o := newOrigin(t)
	base := varnishd(t, o.URL)
	p := newPurger(t, canary, base)
	url := "http://www.example.com/rules"
	fill(t, o, url, http.Header{"Surrogate-Key": {"rules"}, "X-Ebbgate-Gen": {"eu-west-1"}}, base)
	if err := purge(t, p, true, "key:rules"); err != nil {
		t.Fatal(err)
	}
	o.serve("www.example.com/rules", http.Header{"X-Ebbgate-Gen": {"eu-west-2"}})
	if got := get(t, base, url, false).Header.Get("X-Ebbgate-Gen"); got != "eu-west-1" {
		t.Errorf("the first answer after a soft purge is %q", got)
	}
	eventually(t, func() bool { return get(t, base, url, false).Header.Get("X-Ebbgate-Gen") == "eu-west-2" })
}

// The race of a response that is on its way during the purge: without the
// fence the old generation is kept, with it not.
func TestFenceStopsResponseInFlight(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		o := newOrigin(t)
		base := varnishd(t, o.URL)
		p := newPurger(t, canary, base)
		url := "http://www.example.com/rules"
		old := http.Header{"Surrogate-Key": {"rules"}, "X-Ebbgate-Gen": {"eu-west-16"}}
		o.serve("www.example.com/rules", old)
		release := o.hold("www.example.com/rules")
		finished := make(chan struct{})
		go func() { get(t, base, url, false); close(finished) }()
		<-o.held
		if fenced {
			for _, epoch := range []uint64{17, 3} { // a late, lower call does not lower it
				if err := p.Fence(t.Context(), "own", "eu-west", epoch); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := purge(t, p, false, "key:rules"); err != nil {
			t.Fatal(err)
		}
		release()
		<-finished
		if stale := cached(t, base, url); stale == fenced {
			t.Errorf("fenced: %v, stale response kept: %v", fenced, stale)
		}
		if !fenced {
			continue
		}
		fill(t, o, url, http.Header{"X-Ebbgate-Gen": {"eu-west-17"}}, base)
		fill(t, o, "http://www.example.com/us", http.Header{"X-Ebbgate-Gen": {"us-east-4"}}, base)
		fill(t, o, "http://www.example.com/plain", nil, base)
	}
}

func TestAccess(t *testing.T) {
	o := newOrigin(t)
	base := varnishd(t, o.URL)
	url := "http://www.example.com/rules"
	fill(t, o, url, tagged("rules"), base)
	wrong := newPurger(t, "wrong-"+canary, base)
	err := purge(t, wrong, false, "all")
	if cdn.ClassOf(err) != cdn.Auth || strings.Contains(err.Error(), canary) {
		t.Errorf("purge with a wrong token: %v", err)
	}
	if err := wrong.Fence(t.Context(), "own", "eu-west", 9); cdn.ClassOf(err) != cdn.Auth {
		t.Errorf("fence with a wrong token: %v", err)
	}
	if !cached(t, base, url) {
		t.Error("a wrong token purged something")
	}
	h := get(t, base, url, false).Header
	for _, name := range []string{"Xkey", "Ebbgate-Host", "Ebbgate-Url"} {
		if h.Get(name) != "" {
			t.Errorf("%s is shown to clients", name)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.foreign != 0 {
		t.Errorf("%d purges reached the origin", o.foreign)
	}
}

// Who may read varnishd's log learns from it no token that was not sent.
func TestLogShowsNoToken(t *testing.T) {
	varnishlog := servertest.Find(t, "varnishlog")
	dir := filepath.Join(t.TempDir(), "varnishd")
	base := varnishdIn(t, dir, newOrigin(t).URL)
	for _, method := range []string{"PURGE", "FENCE"} {
		knock(t, base, method, http.Header{"Ebbgate-Token": {"wrong"}})
		knock(t, base, method, nil)
	}
	// A request is in the log some time after its answer has come.
	end := time.Now().Add(10 * time.Second)
	for {
		log, err := exec.Command(varnishlog, "-n", dir, "-d", "-g", "raw").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, log)
		}
		if strings.Count(string(log), "RespStatus     c 401") == 4 {
			if strings.Contains(string(log), canary) {
				t.Errorf("the log has the token: %s", log)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the four requests are not in the log: %s", log)
		}
	}
}

// A token file that is empty opens nothing.
func TestEmptyTokenFile(t *testing.T) {
	base := varnishtest.Start(t, varnishtest.Config{VCL: "backend default none;\n"})
	knock(t, base, "PURGE", nil)
	knock(t, base, "PURGE", http.Header{"Ebbgate-Token": {""}})
}

// knock wants to be sent away for its token.
func knock(t *testing.T, base, method string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		req.Header = h
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s with %v: %s", method, h, resp.Status)
	}
}

func TestOneInstanceFails(t *testing.T) {
	accept := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Ebbgate-Accepted", "1") }
	good := httptest.NewServer(http.HandlerFunc(accept))
	defer good.Close()
	status := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, test := range map[string]struct {
		instances []string
		class     cdn.Class
	}{
		"all good":           {[]string{good.URL, good.URL}, ""},
		"not running":        {[]string{good.URL, gone.URL}, cdn.Retryable},
		"error":              {[]string{status(503), good.URL}, cdn.Retryable},
		"without the VCL":    {[]string{good.URL, status(200)}, cdn.Refused},
		"unsupported":        {[]string{good.URL, status(405)}, cdn.Refused},
		"worst one counts":   {[]string{gone.URL, status(403), good.URL}, cdn.Auth},
		"silent (times out)": {[]string{good.URL, "http://" + silent.Addr().String()}, cdn.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPurger(t, canary, test.instances...)
			p.client.Timeout = 200 * time.Millisecond
			err := purge(t, p, false, "key:rules")
			if test.class == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *cdn.Error
			if !errors.As(err, &e) || e.Class != test.class || strings.Contains(err.Error(), canary) {
				t.Errorf("error %v, want class %s", err, test.class)
			}
			if !slices.ContainsFunc(test.instances, func(base string) bool { return strings.Contains(err.Error(), base) }) {
				t.Errorf("error %v names no instance", err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	good := map[string][]string{"own": {"http://10.0.0.1:6081"}}
	for name, c := range map[string]Config{
		"no token":     {Groups: good},
		"no group":     {Token: canary},
		"empty group":  {Token: canary, Groups: map[string][]string{"own": nil}},
		"bad instance": {Token: canary, Groups: map[string][]string{"own": {"10.0.0.1:6081"}}},
		"password":     {Token: canary, Groups: map[string][]string{"own": {"http://u:" + canary + "@10.0.0.1"}}},
		"timeout":      {Token: canary, Groups: good, Timeout: -1},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("condition not met in 5 s")
		case <-tick.C:
		}
	}
}
