package cdn

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
			proved := false
			for _, seen := range evidence {
				if seen.Through == "" || seen.Through == e.Item.Provider || seen.Through == target {
					targets[target] = append(targets[target], seen)
					proved = proved || !seen.NotPurged
				}
			}
			if !proved {
				why := "no vantage point looks through it"
				if len(targets[target]) > 0 {
					why = "no vantage point looks at anything that was purged"
				}
				word := Word(want, target, "accepted by "+target+"; "+why)
				targets[target], all = append(targets[target], word), append(all[:len(all):len(all)], word)
			}
		}
		own[e.ID] = targets[target]
	}
	return own, all
}

// dated reports whether an answer that is not fresh is of the region and older: what it bears
// otherwise says nothing about purges.
func dated(h http.Header, genHeader string, want Want) bool {
	gen, ok := only(h, genHeader)
	if !ok {
		return false
	}
	if gen != "" {
		region, _, err := ParseGen(gen)
		return err == nil && region == want.Region
	}
	age, ok := only(h, "Age")
	_, err := strconv.ParseUint(age, 10, 31)
	return ok && err == nil
}

// weigh finds out whether an older answer was to be purged.
func (e *Evidence) weigh(h http.Header, v Vantage, want Want) {
	tags := strings.Fields(strings.Join(h.Values("Surrogate-Key"), " "))
	for tag := range strings.SplitSeq(strings.Join(h.Values("Cache-Tag"), ","), ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	switch {
	case len(want.Purged) == 0:
	case len(tags) == 0:
		e.Hint = "its answer has no Cache-Tag or Surrogate-Key that tells whether it was to be purged: a vantage point needs a URL that every release purges, such as the page of the identity"
	case !slices.ContainsFunc(want.Purged, func(s Selector) bool { return v.within(s, tags) }):
		e.NotPurged, e.Seen = true, e.Seen+", not purged by this rollout"
	}
}

// within reports whether a selector takes what the vantage point asks for, as far as that can
// be known: in doubt it does.
func (v Vantage) within(s Selector, tags []string) bool {
	u, err := url.Parse(v.URL)
	if err != nil {
		return true
	}
	at := func(host string) bool {
		name, _, _ := strings.Cut(host, ":")
		return slices.ContainsFunc([]string{u.Host, u.Hostname(), v.Host}, func(own string) bool {
			return strings.EqualFold(own, host) || strings.EqualFold(own, name)
		})
	}
	switch s.Kind {
	case Key:
		return slices.ContainsFunc(tags, func(tag string) bool { return strings.EqualFold(tag, s.Value) })
	case URL:
		purged, err := url.Parse(s.Value)
		return err != nil || at(purged.Host) && strings.TrimSuffix(purged.Path, "/") == strings.TrimSuffix(u.Path, "/")
	case Prefix:
		host, prefix := s.HostPath()
		path := cmp.Or(u.EscapedPath(), "/")
		return at(host) && (strings.HasPrefix(path, prefix) || strings.HasPrefix(unescaped(path), unescaped(prefix)))
	case Host:
		return at(s.Value)
	}
	return true
}

// unescaped decodes a path; one that cannot be stays as it is.
func unescaped(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}
