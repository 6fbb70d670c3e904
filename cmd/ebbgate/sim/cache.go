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
	untold map[content]map[turn]bool
}

// turn is one time that a node served something that nobody had ordered of it just then.
// While no leader has heard of it, no purge can name what was served.
type turn struct {
	node wire.AgentID
	n    int
}

// begin notes a turn that nobody has heard of yet.
func (c *cache) begin(old content, t turn) {
	if c.untold[old] == nil {
		c.untold[old] = make(map[turn]bool)
	}
	c.untold[old][t] = true
}

// secret reports whether a node may have served old without anybody hearing of it.
func (c *cache) secret(old content) bool { return len(c.untold[old]) > 0 }

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
		delete(c.untold, old)
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
