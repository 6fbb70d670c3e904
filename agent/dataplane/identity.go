package dataplane

import "github.com/ebbgate/ebbgate/agent/tags"

// Identity returns what a data plane that serves r shows.
func (r Release) Identity() tags.Identity {
	return tags.Identity{
		Release: r.ID(), App: r.App, Version: string(r.Version), Digest: r.Digest,
		Epoch: r.Epoch, Region: r.Region, Generation: r.Generation().String(),
	}
}
