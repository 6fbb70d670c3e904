package cloudflare

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

const (
	canary = "canary-token-7f3a"
	zone   = "023e105f4ecef8ad9ca31a8372d0c353"
)

func start(t *testing.T, c cdntest.CloudflareConfig) (*cdntest.Cloudflare, *Purger) {
	t.Helper()
	c.Token, c.Zones = canary, []string{zone}
	remote := cdntest.NewCloudflare(c)
	server := httptest.NewServer(remote)
	t.Cleanup(server.Close)
	p, err := New(Config{Token: canary, Plan: Enterprise, Endpoint: server.URL + "/client/v4", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return remote, p
}

func tags(values ...string) cdn.Request {
	r := cdn.Request{Scope: zone}
	for _, v := range values {
		r.Selectors = append(r.Selectors, cdn.Selector{Kind: cdn.Key, Value: v})
	}
	return r
}

func TestConformance(t *testing.T) {
	cdntest.Run(t, func(t *testing.T) cdntest.Subject {
		edge := cdntest.NewCache()
		remote, p := start(t, cdntest.CloudflareConfig{OnPurge: edge.Apply})
		return cdntest.Subject{
			Purger: p, Scope: zone, Token: canary, Calls: remote.Calls,
			Put: func(_ *testing.T, url string, tags ...string) { edge.Put(url, tags...) },
			Has: func(_ *testing.T, url string) bool { return edge.Has(url) },
		}
	})
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault cdntest.Fault
		class cdn.Class
		after time.Duration
	}{
		"200 without success":    {cdntest.Fault{Code: 1107, Message: "only enterprise zones can purge by tag"}, cdn.Refused, 0},
		"200 bad token":          {cdntest.Fault{Code: 10000, Message: "Authentication error " + canary}, cdn.Auth, 0},
		"200 no such zone":       {cdntest.Fault{Code: 7003, Message: "could not route"}, cdn.NotFound, 0},
		"200 without anything":   {cdntest.Fault{Body: `{}`}, cdn.Unknown, 0},
		"200 success without id": {cdntest.Fault{Body: `{"success":true,"errors":[],"result":null}`}, cdn.Unknown, 0},
		"200 id without success": {cdntest.Fault{Body: `{"success":false,"errors":[],"result":{"id":"x"}}`}, cdn.Unknown, 0},
		"not JSON":               {cdntest.Fault{Body: `<html>`}, cdn.Unknown, 0},
		"too many":               {cdntest.Fault{Status: 429, RetryAfter: "3", Code: 971}, cdn.RateLimited, 3 * time.Second},
		"absurd wait":            {cdntest.Fault{Status: 429, RetryAfter: "9999999", Code: 971}, cdn.RateLimited, 5 * time.Minute},
		"bad gateway":            {cdntest.Fault{Status: 502}, cdn.Retryable, 0},
		"forbidden":              {cdntest.Fault{Status: 403, Code: 10000}, cdn.Auth, 0},
		"bad request":            {cdntest.Fault{Status: 400, Code: 1014, Message: "must be\nan array"}, cdn.Refused, 0},
		"lost request":           {cdntest.Fault{LoseRequest: true}, cdn.Unknown, 0},
		"lost reply":             {cdntest.Fault{LoseReply: true}, cdn.Unknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			remote, p := start(t, cdntest.CloudflareConfig{})
			remote.Inject(test.fault)
			receipt, err := p.Purge(t.Context(), tags("rules"))
			if e := cdntest.Failed(t, p, err, test.class, canary); e != nil && e.RetryAfter != test.after || len(receipt.IDs) != 0 {
				t.Errorf("want %s: %v, receipt %v", test.after, err, receipt.IDs)
			}
			if remote.Calls() != 1 {
				t.Errorf("%d calls, want one attempt", remote.Calls())
			}
		})
	}
}

// An answer that gives no reason leaves its status to speak.
func TestNoReason(t *testing.T) {
	for body, want := range map[string]string{
		"": "cannot purge cloudflare: Too Many Requests (HTTP 429)",
		`{"success":false,"errors":[{"code":0,"message":""}]}`:     "cannot purge cloudflare: Too Many Requests (HTTP 429)",
		`{"success":false,"errors":[{"code":971,"message":""}]}`:   "cannot purge cloudflare: 971 (HTTP 429)",
		`{"success":false,"errors":[{"code":0,"message":"wait"}]}`: "cannot purge cloudflare: wait (HTTP 429)",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(body))
		}))
		p, err := New(Config{Token: canary, Plan: Enterprise, Endpoint: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Purge(t.Context(), tags("rules")); err == nil || err.Error() != want+" [rate-limited]" {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
		server.Close()
	}
}

// Every kind must arrive with a body of its own; cloudflare-go sends an
// omitted one as empty without complaint.
func TestBodies(t *testing.T) {
	remote, p := start(t, cdntest.CloudflareConfig{})
	for _, s := range []cdn.Selector{
		{Kind: cdn.Key, Value: "rules@eu-west-17"},
		{Kind: cdn.URL, Value: "https://www.example.com/a?tag=2&tag=1"},
		{Kind: cdn.Prefix, Value: "www.example.com/rules/"},
		{Kind: cdn.Host, Value: "www.example.com"},
		{Kind: cdn.All},
	} {
		if _, err := p.Purge(t.Context(), cdn.Request{Scope: zone, Selectors: []cdn.Selector{s}}); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		purges := remote.Purges()
		if diff := cmp.Diff([]cdn.Selector{s}, purges[len(purges)-1].Selectors); diff != "" {
			t.Error(diff)
		}
	}
}

// A URL goes out in every form in which it may be cached, and pays for each.
func TestVariants(t *testing.T) {
	mobile, german := map[string]string{"CF-Device-Type": "mobile"}, map[string]string{"Accept-Language": "de", "CF-IPCountry": "DE"}
	remote := cdntest.NewCloudflare(cdntest.CloudflareConfig{Token: canary})
	server := httptest.NewServer(remote)
	defer server.Close()
	p, err := New(Config{Token: canary, Plan: Free, Endpoint: server.URL, Variants: []map[string]string{mobile, german}})
	if err != nil {
		t.Fatal(err)
	}
	url := cdn.Selector{Kind: cdn.URL, Value: "https://www.example.com/a"}
	receipt, err := p.Purge(t.Context(), cdn.Request{Scope: zone, Selectors: []cdn.Selector{url}})
	if err != nil || len(receipt.IDs) != 1 {
		t.Fatalf("%v %v", receipt.IDs, err)
	}
	done := remote.Purges()[0]
	if diff := cmp.Diff([]cdn.Selector{url, url, url}, done.Selectors) + cmp.Diff([]map[string]string{nil, mobile, german}, done.Variants); diff != "" {
		t.Error(diff)
	}
	caps := p.Capabilities()
	if limits, quota := caps.Kinds[cdn.URL], caps.Buckets["files"]; limits.Batch != 33 || quota.Burst != 266 || quota.PerSecond*3 != 800 {
		t.Errorf("%+v %+v", limits, quota)
	}
}

func TestEnvironment(t *testing.T) {
	remote, p := start(t, cdntest.CloudflareConfig{})
	p.environments = map[string]string{zone: "env-1", "other": "env-2"}
	for _, s := range []cdn.Selector{{Kind: cdn.Key, Value: "rules"}, {Kind: cdn.URL, Value: "https://www.example.com/a"}, {Kind: cdn.All}} {
		if _, err := p.Purge(t.Context(), cdn.Request{Scope: zone, Selectors: []cdn.Selector{s}}); err != nil {
			t.Fatal(err)
		}
		purges := remote.Purges()
		done := purges[len(purges)-1]
		if diff := cmp.Diff([]cdn.Selector{s}, done.Selectors); diff != "" || done.Environment != "env-1" || done.Scope != zone {
			t.Errorf("%s in %s %s", diff, done.Scope, done.Environment)
		}
	}
	remote.Inject(cdntest.Fault{Code: 1107, Message: "no"})
	if _, err := p.Purge(t.Context(), tags("a")); cdn.ClassOf(err) != cdn.Refused {
		t.Errorf("error %v", err)
	}
}

func TestQuotaOfTheRemoteEnd(t *testing.T) {
	remote, p := start(t, cdntest.CloudflareConfig{Burst: 1, Rate: 1.0 / 12})
	if _, err := p.Purge(t.Context(), tags("a")); err != nil {
		t.Fatal(err)
	}
	_, err := p.Purge(t.Context(), tags("b"))
	var e *cdn.Error
	if !errors.As(err, &e) || e.Class != cdn.RateLimited || e.RetryAfter != 12*time.Second || len(remote.Purges()) != 1 {
		t.Errorf("error %v", err)
	}
}

// The own token bucket keeps a Free account inside 25 calls, then one each 12 s.
func TestOwnQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Token: canary, Plan: Free})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for i := range 27 {
			if err := p.limiter.Wait(t.Context(), p.name, cdn.Key, 100); err != nil {
				t.Fatal(err)
			}
			if want := max(0, time.Duration(i-24)*12*time.Second); time.Since(begin).Round(time.Millisecond) != want {
				t.Fatalf("call %d after %s, want %s", i, time.Since(begin), want)
			}
		}
	})
}

// The root package of cloudflare-go costs more to build than all else together.
func TestRootPackageIsNotImported(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if strings.TrimSpace(dep) == "github.com/cloudflare/cloudflare-go/v7" {
			t.Error("the root package is imported")
		}
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no token":         {Plan: Free},
		"token with break": {Token: canary + "\n", Plan: Free},
		"no plan":          {Token: canary},
		"endpoint":         {Token: canary, Plan: Free, Endpoint: "api.cloudflare.com"},
		"timeout":          {Token: canary, Plan: Free, Timeout: -1},
		"empty variant":    {Token: canary, Plan: Free, Variants: []map[string]string{{}}},
		"no header":        {Token: canary, Plan: Free, Variants: []map[string]string{{"A:": "b"}}},
		"no value":         {Token: canary, Plan: Free, Variants: []map[string]string{{"A": "b\n"}}},
		"many variants":    {Token: canary, Plan: Free, Variants: make([]map[string]string, 10)},
		"environment":      {Token: canary, Plan: Free, Environments: map[string]string{zone: "../e"}},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"success":true,"errors":[],"result":{"id":"x"}}`))
	f.Add(200, []byte(`{"success":false,"errors":[{"code":1107,"message":"no"}]}`))
	f.Add(500, []byte(`oops`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		answer := &apihttp.Answer{Status: status, Header: http.Header{}, Body: body}
		id, err := outcome(apihttp.Call{Answer: answer}, nil)
		if (id == "") != (err != nil) {
			t.Errorf("id %q with error %v", id, err)
		}
		if err == nil && (status/100 != 2 || !strings.Contains(strings.ToLower(string(body)), "true")) {
			t.Errorf("status %d body %q taken as success", status, body)
		}
	})
}
