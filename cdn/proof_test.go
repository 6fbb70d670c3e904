package cdn

import (
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
