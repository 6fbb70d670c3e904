package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// content is a bundle at the epoch under which a node serves it, as its tags say.
type content struct {
	digest wire.Digest
	epoch  wire.Epoch
}

// cache tells what a region's caches may hold: whatever a node has served at any time,
// unless a purge removed it later than the last response that carried it can have arrived.
type cache struct {
	region wire.Region
	fetch  time.Duration         // how long a response may be on its way
	last   map[content]time.Time // content that may be cached → when a node last served it
}

// purge removes what was served before, but for what is still on its way or still served.
func (w *world) purge(e rollout.Purge) {
	c := w.caches[e.Region]
	for _, s := range e.From {
		old := content{s.Digest, s.Epoch}
		last, held := c.last[old]
		if !held || w.serves(e.Region, old) || last.Add(c.fetch).After(w.now) {
			continue
		}
		delete(c.last, old)
	}
	w.count("purge reached the cdn")
}

// serves reports whether a node of the region answers users with c.
func (w *world) serves(r wire.Region, c content) bool {
	return slices.ContainsFunc(w.nodes[r], func(n *node) bool { return n.serving() == c })
}

// stale returns what may be cached beside the bundle d, in order of epoch.
func (c *cache) stale(d wire.Digest) []content {
	var old []content
	for have := range c.last {
		if have.digest != d {
			old = append(old, have)
		}
	}
	slices.SortFunc(old, func(a, b content) int { return int(a.epoch) - int(b.epoch) })
	return old
}
