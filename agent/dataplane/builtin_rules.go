package dataplane

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/net/http/httpguts"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// RulesFile is the optional file of a release that configures the builtin server.
const RulesFile = "builtin.json"

const (
	maxRulesFile = 1 << 20
	maxRules     = 1000
)

// builtinRules is the content of builtin.json.
type builtinRules struct {
	Respond       []builtinResponse   `json:"respond,omitempty"`
	SurrogateKeys map[string][]string `json:"surrogate_keys,omitempty"` // glob over URL paths without leading slash → keys
}

// builtinResponse is a fixed answer, to every method.
type builtinResponse struct {
	Path    string            `json:"path"`
	Status  int               `json:"status"`
	Body    string            `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"` // name → value
}

func parseBuiltinRules(data []byte) (*builtinRules, error) {
	rules := new(builtinRules)
	if err := wire.DecodeJSON(RulesFile, maxRulesFile, data, rules); err != nil {
		return nil, err
	}
	fail := func(field, format string, args ...any) (*builtinRules, error) {
		return nil, &wire.FieldError{Doc: RulesFile, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if n := max(len(rules.Respond), len(rules.SurrogateKeys)); n > maxRules {
		return fail("respond", "or surrogate_keys has %d entries, at most %d are allowed", n, maxRules)
	}
	seen := make(map[string]bool)
	for i, p := range rules.Respond {
		at := fmt.Sprintf("respond[%d]", i)
		switch {
		case !strings.HasPrefix(p.Path, "/"):
			return fail(at+".path", "%q is not an absolute path", p.Path)
		case p.Path == tags.IdentityPath:
			return fail(at+".path", "%s is the agent's own", p.Path)
		case seen[p.Path]:
			return fail(at+".path", "%q appears twice", p.Path)
		case p.Status < 200 || p.Status > 599:
			return fail(at+".status", "is %d, want 200 to 599", p.Status)
		}
		seen[p.Path] = true
		for _, name := range wire.Keys(p.Headers) {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(p.Headers[name]) {
				return fail(at+".headers", "%q is not a header", name)
			}
			if ownHeader(name) {
				return fail(at+".headers", "%s is the agent's own", name)
			}
		}
	}
	for _, glob := range wire.Keys(rules.SurrogateKeys) {
		if glob == "" || !doublestar.ValidatePattern(glob) {
			return fail("surrogate_keys", "%q is not a glob", glob)
		}
		for _, key := range rules.SurrogateKeys[glob] {
			if key == "" || len(key) > 256 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
				return fail("surrogate_keys."+glob, "%q is not a key: ASCII, no spaces, no commas, 1 to 256 bytes", key)
			}
		}
	}
	return rules, nil
}

// keys returns the surrogate keys of a URL path in order: each plain, and with region and
// epoch behind it, so that a repeated purge of the old generation spares objects
// that are already fresh.
func (b *builtinRules) keys(path string, g wire.Generation) []string {
	var keys []string
	for _, glob := range wire.Keys(b.SurrogateKeys) {
		if doublestar.MatchUnvalidated(glob, strings.TrimPrefix(path, "/")) {
			for _, key := range b.SurrogateKeys[glob] {
				keys = append(keys, key, fmt.Sprintf("%s@%s-%d", key, g.Region, g.Epoch))
			}
		}
	}
	return keys
}

func ownHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case tags.HeaderRelease, tags.HeaderGeneration, tags.HeaderKeys, tags.HeaderCacheTag, "Content-Length", "Transfer-Encoding", "Connection":
		return true
	}
	return false
}
