package cdn

import (
	"fmt"
	"time"
)

// Word is the evidence where nothing looks: the provider's word, and why there is no more.
func Word(want Want, through, seen string) Evidence {
	return Evidence{
		Vantage: "none", Seen: seen, Wanted: fmt.Sprintf("%s-%d", want.Region, want.Epoch),
		Fresh: true, At: time.Now().UTC(), Through: through,
	}
}

// proofs gives each entry the evidence that is about its target, and to those without any the
// provider's word. It returns all the evidence, too.
func proofs(evidence []Evidence, want Want, entries []Entry) (map[ID][]Evidence, []Evidence) {
	own, all := make(map[ID][]Evidence), evidence
	targets := make(map[string][]Evidence) // provider/scope → evidence
	for _, e := range entries {
		target := e.Item.Provider + "/" + e.Item.Scope
		if _, known := targets[target]; !known {
			for _, seen := range evidence {
				if seen.Through == "" || seen.Through == e.Item.Provider || seen.Through == target {
					targets[target] = append(targets[target], seen)
				}
			}
			if len(targets[target]) == 0 {
				word := Word(want, target, "accepted by "+target+"; no vantage point looks through it")
				targets[target], all = []Evidence{word}, append(all[:len(all):len(all)], word)
			}
		}
		own[e.ID] = targets[target]
	}
	return own, all
}
