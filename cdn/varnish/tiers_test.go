package varnish

import (
	"net/http"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
)

// An edge before a shield takes its keys from Cache-Tag: the shield hands Surrogate-Key to
// nobody. Both tiers then purge by the same keys.
func TestEdgeBeforeShield(t *testing.T) {
	o := newOrigin(t)
	shield := varnishd(t, o.URL)
	edge := varnishd(t, shield)
	const url = "http://www.example.com/a"
	h := tagged("rules", "gen:waf.eu-west-16")
	h.Set("Cache-Tag", "rules,gen:waf.eu-west-16")
	fill(t, o, url, h, edge)
	if resp := get(t, edge, url, true); resp.Header.Get("Surrogate-Key") != "" || resp.StatusCode != http.StatusOK {
		t.Fatalf("the edge answers %d with Surrogate-Key %q", resp.StatusCode, resp.Header.Get("Surrogate-Key"))
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
