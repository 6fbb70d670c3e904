package wire

import (
	"fmt"
	"slices"
)

// App names one thing that is rolled out on its own: "edge-proxy", "waf".
type App string

// Region names a group of agents that activate and are purged together.
type Region string

// AgentID names the one agent of a node. It is stable across restarts.
type AgentID string

// Fleet names the set of regions one controller drives. It is part of every
// signed document, so that an order for one fleet means nothing in another.
type Fleet string

// maxToken bounds a name: it becomes a NATS subject token, a directory name and a
// gossip node name, and has to stay readable in a table.
const maxToken = 63

// CheckToken reports why s cannot be a name. A name is 1 to 63 characters of
// [a-z0-9-], and neither begins nor ends with a hyphen.
func CheckToken(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("is empty")
	case len(s) > maxToken:
		return fmt.Errorf("is %d characters long, at most %d are allowed", len(s), maxToken)
	case s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Errorf("%q begins or ends with a hyphen", s)
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("%q holds %q, only a-z, 0-9 and - are allowed", s, r)
		}
	}
	return nil
}

// Keys returns the keys of m in ascending order. Nothing that is signed, logged or
// decided may depend on the order of a map.
func Keys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
