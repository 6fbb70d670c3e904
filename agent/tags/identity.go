package tags

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

// Where and how a data plane shows what it serves.
const (
	IdentityPath     = "/.well-known/ebbgate" // answers an [Identity]
	HeaderRelease    = "X-Ebbgate-Release"    // Identity.Release
	HeaderGeneration = "X-Ebbgate-Gen"        // <app>.<region>-<epoch>
	HeaderKeys       = "Surrogate-Key"        // tags, separated by spaces
	HeaderCacheTag   = "Cache-Tag"            // tags, separated by commas
)

// Identity is what a data plane answers at [IdentityPath].
type Identity struct {
	Release    string      `json:"release"` // <version>-<first 12 digits of the digest>@<epoch>
	App        wire.App    `json:"app"`
	Version    string      `json:"version"`
	Digest     wire.Digest `json:"digest"`
	Epoch      wire.Epoch  `json:"epoch"`
	Region     wire.Region `json:"region"`
	Generation string      `json:"generation"` // <app>.<region>-<epoch>
}

// JSON returns the document, which holds neither quotes nor backslashes inside values.
func (i Identity) JSON() []byte {
	b, err := wire.EncodeJSON(i)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// Tags returns the tags of every answer: bundle:<version>, region:<region> and
// gen:<generation>. They are in lower case because Cloudflare takes no notice of case and
// Fastly does.
func (i Identity) Tags() []string {
	return []string{
		"bundle:" + strings.ToLower(i.Version),
		"region:" + strings.ToLower(string(i.Region)),
		"gen:" + strings.ToLower(i.Generation),
	}
}

// Show sets the four headers of an answer. What else made a part of the answer may have
// set tags of its own: they stay, behind ours, in one header of each kind.
func (i Identity) Show(h http.Header) {
	h.Set(HeaderRelease, i.Release)
	h.Set(HeaderGeneration, i.Generation)
	merge(h, HeaderKeys, " ", i.Tags())
	merge(h, HeaderCacheTag, ",", i.Tags())
}

func merge(h http.Header, name, separator string, ours []string) {
	all := slices.Clone(ours)
	for _, line := range h.Values(name) {
		for tag := range strings.SplitSeq(line, separator) {
			if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(all, tag) {
				all = append(all, tag)
			}
		}
	}
	h.Set(name, strings.Join(all, separator))
}
