package dataplane

import (
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

// Where and how a data plane shows what it serves.
const (
	IdentityPath     = "/.well-known/ebbgate" // answers an [Identity]
	HeaderRelease    = "X-Ebbgate-Release"    // Release.ID
	HeaderGeneration = "X-Ebbgate-Gen"        // <app>.<region>-<epoch>
)

// Identity is what a data plane answers at [IdentityPath].
type Identity struct {
	Release    string      `json:"release"` // Release.ID
	App        wire.App    `json:"app"`
	Version    string      `json:"version"`
	Digest     wire.Digest `json:"digest"`
	Epoch      wire.Epoch  `json:"epoch"`
	Region     wire.Region `json:"region"`
	Generation string      `json:"generation"`
}

// Identity returns what a data plane that serves r shows.
func (r Release) Identity() Identity {
	return Identity{
		Release: r.ID(), App: r.App, Version: string(r.Version), Digest: r.Digest,
		Epoch: r.Epoch, Region: r.Region, Generation: r.Generation().String(),
	}
}

// json returns the document, which holds neither quotes nor backslashes inside values.
func (i Identity) json() []byte {
	b, err := wire.EncodeJSON(i)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// tags are the surrogate keys of every response, in lower case.
func (r Release) tags() []string {
	return []string{
		"bundle:" + strings.ToLower(string(r.Version)),
		"region:" + string(r.Region),
		"gen:" + r.Generation().String(),
	}
}
