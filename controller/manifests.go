package controller

import (
	"slices"
	"sync"

	"github.com/ebbgate/ebbgate/wire"
)

// keptManifests bounds the cache: a manifest can have megabytes.
const keptManifests = 16

// manifestCache keeps the manifests that were used last. The zero value is ready.
type manifestCache struct {
	mu    sync.Mutex // guards all below
	byID  map[wire.Digest]*wire.Manifest
	order []wire.Digest // least recently put first
}

func (c *manifestCache) get(d wire.Digest) *wire.Manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[d]
}

func (c *manifestCache) put(d wire.Digest, m *wire.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = make(map[wire.Digest]*wire.Manifest)
	}
	c.byID[d] = m
	c.order = append(slices.DeleteFunc(c.order, func(o wire.Digest) bool { return o == d }), d)
	if len(c.order) > keptManifests {
		delete(c.byID, c.order[0])
		c.order = c.order[1:]
	}
}
