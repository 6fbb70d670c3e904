package cdn

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A vantage point that looks through one target proves no other.
func TestProofs(t *testing.T) {
	at := func(provider, scope string) Entry {
		return Entry{ID: ID(provider + scope), Item: Item{Provider: provider, Scope: scope}}
	}
	entries := []Entry{at("varnish", "eu"), at("varnish", "us"), at("cf", "zone"), at("cf", "zone")}
	want := Want{Region: "waf.eu", Epoch: 7}
	for through, proved := range map[string]int{"": 4, "varnish": 2, "varnish/us": 1, "cf/zone": 2, "gone": 0} {
		seen := []Evidence{{Vantage: "lab", URL: "http://x/", Seen: "waf.eu-7", Fresh: true, Through: through}}
		own, all := proofs(seen, want, entries)
		n := 0
		for _, e := range entries {
			switch evidence := own[e.ID]; {
			case len(evidence) != 1 || !evidence[0].Fresh:
				t.Errorf("through %q: %s has the evidence %v", through, e.ID, evidence)
			case evidence[0].Vantage == "lab":
				n++
			case !strings.Contains(evidence[0].Seen, "no vantage point looks through it"):
				t.Errorf("through %q: %s has the evidence %v", through, e.ID, evidence)
			}
		}
		if words := len(all) - 1; n != proved || (words > 0) != (n < 4) || words > 3 {
			t.Errorf("through %q: %d of 4 are proved, want %d; with the word of %d providers", through, n, proved, words)
		}
	}
}

// An older answer whose tags say that nothing purged it proves nothing, either way. Without
// tags it is stale, and what to do is said.
func TestNotPurged(t *testing.T) {
	h := http.Header{"X-Ebbgate-Gen": {"waf.eu-11"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { maps.Copy(w.Header(), h) }))
	defer server.Close()
	host, _, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, test := range []struct {
		name, purged string
		tags         http.Header
		spared       bool
		hint         bool
	}{
		{"another key", "key:waf-a", http.Header{"Surrogate-Key": {"pages waf-b"}}, true, false},
		{"another tag", "key:waf-a", http.Header{"Cache-Tag": {"pages, waf-b", "waf-c"}}, true, false},
		{"its key", "key:waf-a", http.Header{"Surrogate-Key": {"pages waf-a"}}, false, false},
		{"its tag", "key:waf-a", http.Header{"Cache-Tag": {"pages, WAF-a"}}, false, false},
		{"in one of both", "key:waf-a", http.Header{"Surrogate-Key": {"waf-b"}, "Cache-Tag": {"waf-a"}}, false, false},
		{"no tags", "key:waf-a", nil, false, true},
		{"all", "all", http.Header{"Cache-Tag": {"waf-b"}}, false, false},
		{"its URL", "url:" + server.URL + "/a/page", http.Header{"Cache-Tag": {"waf-b"}}, false, false},
		{"another URL", "url:" + server.URL + "/b", http.Header{"Cache-Tag": {"waf-b"}}, true, false},
		{"its prefix", "prefix:" + host + "/a", http.Header{"Cache-Tag": {"waf-b"}}, false, false},
		{"another prefix", "prefix:" + host + "/b/", http.Header{"Cache-Tag": {"waf-b"}}, true, false},
		{"its host", "host:www.example.com", http.Header{"Cache-Tag": {"waf-b"}}, false, false},
		{"another host", "host:other.example.com", http.Header{"Cache-Tag": {"waf-b"}}, true, false},
		{"an escaped prefix", "prefix:" + host + "/%61/", http.Header{"Cache-Tag": {"waf-b"}}, false, false},
	} {
		s, err := ParseSelector(test.purged)
		if err != nil {
			t.Fatal(err)
		}
		h = http.Header{"X-Ebbgate-Gen": {"waf.eu-11"}}
		maps.Copy(h, test.tags)
		p, err := NewProbe(ProbeConfig{Vantages: []Vantage{{Name: "lab", URL: server.URL + "/a/page", Host: "www.example.com"}}})
		if err != nil {
			t.Fatal(err)
		}
		want := Want{Region: "waf.eu", Epoch: 12, Purged: []Selector{s}}
		evidence, err := p.Verify(t.Context(), want)
		if e := evidence[0]; err != nil || e.Fresh || e.NotPurged != test.spared || (e.Hint != "") != test.hint {
			t.Errorf("%s: %v, %+v", test.name, err, e)
		}
		if !test.spared {
			continue
		}
		own, _ := proofs(evidence, want, []Entry{{ID: "a", Item: Item{Provider: "cf", Scope: "zone"}}})
		if e := own["a"]; len(e) != 2 || e[0].Seen != "waf.eu-11, not purged by this rollout" || e[1].Vantage != "none" {
			t.Errorf("%s: the entry's evidence is %v", test.name, e)
		}
	}
	for _, gen := range [][]string{{"waf.us-11"}, {"nonsense"}, {"waf.eu-11", "waf.eu-12"}} {
		h = http.Header{"X-Ebbgate-Gen": gen, "Cache-Tag": {"waf-b"}}
		p, err := NewProbe(ProbeConfig{Vantages: []Vantage{{Name: "lab", URL: server.URL}}})
		if err != nil {
			t.Fatal(err)
		}
		if evidence, err := p.Verify(t.Context(), Want{Region: "waf.eu", Epoch: 12, Purged: []Selector{{Key, "waf-a"}}}); err != nil || evidence[0].NotPurged || evidence[0].Fresh {
			t.Errorf("generation %q: %v, %v", gen, evidence, err)
		}
	}
}

// In doubt a selector takes what a vantage point asks for, however either is written.
func TestWithin(t *testing.T) {
	for _, test := range []struct {
		url, purged string
		want        bool
	}{
		{"https://www.example.com", "prefix:www.example.com/", true},
		{"https://www.example.com?a", "prefix:www.example.com/", true},
		{"https://www.example.com", "prefix:www.example.com/a", false},
		{"https://www.example.com", "url:https://www.example.com/", true},
		{"https://www.example.com/a%20b/x", "prefix:www.example.com/a%20b/", true},
		{"https://www.example.com/%61/x", "prefix:www.example.com/a/", true},
		{"https://www.example.com/a/x", "prefix:www.example.com/%61/", true},
		{"https://www.example.com/a%2fx", "prefix:www.example.com/a/", true},
		{"https://www.example.com/a%2Fb/x", "prefix:www.example.com/a%2fc/", false},
		{"https://www.example.com:8443/a", "prefix:www.example.com/a", true},
		{"https://www.example.com/a", "prefix:example.com/a", false},
	} {
		s, err := ParseSelector(test.purged)
		if err != nil {
			t.Fatal(err)
		}
		if is := (Vantage{URL: test.url}).within(s, []string{"other"}); is != test.want {
			t.Errorf("%s is within %s: %v, want %v", test.url, test.purged, is, test.want)
		}
	}
}
