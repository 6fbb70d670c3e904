package varnish

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
)

// Whatever stands in front of a shield files its answers under what the shield hands out:
// Fastly under Surrogate-Key, Cloudflare under Cache-Tag. Both tiers then purge by the same keys.
func TestEdgeBeforeShield(t *testing.T) {
	for name, drop := range map[string]string{"own edge": "", "edge that sees Cache-Tag only": "Surrogate-Key"} {
		t.Run(name, func(t *testing.T) { edgeBeforeShield(t, drop) })
	}
}

func edgeBeforeShield(t *testing.T, drop string) {
	o := newOrigin(t)
	shield := varnishd(t, o.URL)
	front := shield
	if drop != "" {
		front = without(t, shield, drop)
	}
	edge := varnishd(t, front)
	const url = "http://www.example.com/a"
	h := http.Header{
		"Surrogate-Key": {"rules", "gen:waf.eu-west-16"}, // the application's and the data plane's
		"Cache-Tag":     {"rules,gen:waf.eu-west-16"},
	}
	fill(t, o, url, h, edge)
	for when, resp := range map[string]*http.Response{"stored": get(t, shield, url, true), "passed on": get(t, shield, url, false)} {
		if got := resp.Header.Get("Surrogate-Key"); got != "rules gen:waf.eu-west-16" {
			t.Errorf("%s: the shield answers %d with Surrogate-Key %q", when, resp.StatusCode, got)
		}
		if got := resp.Header.Get("Cache-Tag"); got != "rules,gen:waf.eu-west-16" {
			t.Errorf("%s: the shield answers %d with Cache-Tag %q", when, resp.StatusCode, got)
		}
		if got := resp.Header.Get("xkey") + resp.Header.Get("Ebbgate-Host") + resp.Header.Get("Ebbgate-Url"); got != "" {
			t.Errorf("%s: the shield hands out what is its own: %q", when, got)
		}
	}
	p, err := New(Config{Token: canary, Groups: map[string][]string{"edge": {edge}, "shield": {shield}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range []struct{ scope, base string }{{"edge", edge}, {"shield", shield}} {
		if !cached(t, tier.base, url) {
			t.Errorf("the %s holds nothing", tier.scope)
		}
		r := cdn.Request{Scope: tier.scope, Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "gen:waf.eu-west-16"}}}
		if _, err := p.Purge(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if cached(t, tier.base, url) {
			t.Errorf("the purge by key has not reached the %s", tier.scope)
		}
	}
}

// without stands before base and takes one header off what it answers.
func without(t *testing.T, base, name string) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error { r.Header.Del(name); return nil },
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}
