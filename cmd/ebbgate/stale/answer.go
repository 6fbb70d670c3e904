package stale

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// tier is a row of caches. The edge fetches from the shield, the shield from the nodes.
type tier string

const (
	shield tier = "shield"
	edge   tier = "edge"
)

var tiers = []tier{shield, edge}

// kind is what a request was for.
type kind string

const (
	hot  kind = "hot"  // pages asked for all the time
	cold kind = "cold" // pages asked for before the release, and not again until the barrier
	slow kind = "slow" // pages whose origin takes long, each asked for the first time at some moment
)

var kinds = []kind{hot, cold, slow}

// answer is what a client got for one request.
type answer struct {
	asked, answered int64 // Unix nanoseconds: before the request was written, after the answer was read
	region          wire.Region
	tier            tier // asked
	kind            kind
	path            string
	status          int // 0: no answer
	epoch           wire.Epoch
	hit             bool // from the cache that was asked
	torn            bool // header and body are of different versions
}

// good reports whether the answer is a page, and so shows a generation.
func (a answer) good() bool { return a.status == 200 }

// population is what answers are alike in: none of them may be without any.
type population struct {
	region wire.Region
	tier   tier
	kind   kind
}

// count is what became of the requests of a run.
type count struct {
	requests   int
	unanswered int // the connection ended first
	failed     int // answered, with another status than 200
	torn       int
	cached     int                // old ones from a cache, asked for before the activation
	old        int                // of an older generation than the last barrier's, asked for between activation and barrier
	crossed    int                // of those, answered after the barrier
	behind     int                // older than a barrier which left agents behind, until the one that follows them
	stale      int                // older than the barrier before they were asked for
	staleHits  int                // of those, from the cache that was asked
	fresh      int                // asked for after the last barrier, and not stale
	slowest    time.Duration      // to be answered, of what was asked for before the last barrier
	seen       map[population]int // asked for after the last barrier
	samples    []string           // a few of the stale ones
}

const maxSamples = 5

// tally counts the answers of a run against the courses of the regions.
func tally(answers []answer, courses []course) count {
	c := count{seen: make(map[population]int)}
	by := make(map[wire.Region]course)
	for _, co := range courses {
		by[co.region] = co
	}
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.asked, b.asked) })
	for _, a := range answers {
		c.add(a, by[a.region])
	}
	return c
}

func (c *count) add(a answer, co course) {
	c.requests++
	switch {
	case a.status == 0:
		c.unanswered++
		return
	case !a.good():
		c.failed++
		return
	}
	if a.torn {
		c.torn++
	}
	barrier, reached := co.last()
	if !reached {
		return
	}
	if a.asked > barrier {
		c.seen[population{a.region, a.tier, a.kind}]++
	} else {
		c.slowest = max(c.slowest, time.Duration(a.answered-a.asked))
	}
	newest := co.floors[len(co.floors)-1].epoch
	under, stale := broken(co.floors, a)
	_, behind := broken(co.promised, a)
	switch {
	case stale:
		c.stale++
		if a.hit {
			c.staleHits++
		}
		if len(c.samples) < maxSamples {
			c.samples = append(c.samples, fmt.Sprintf("%s %s %s: epoch %d, want %d, asked %s after the barrier, hit %t",
				a.region, a.tier, a.path, a.epoch, under.epoch, time.Duration(a.asked-under.at).Round(time.Millisecond), a.hit))
		}
	case behind:
		c.behind++
	case a.asked > barrier:
		c.fresh++
	case a.epoch >= newest:
	case a.asked < co.activated:
		if a.hit {
			c.cached++
		}
	default:
		c.old++
		if a.answered > barrier {
			c.crossed++
		}
	}
}

// blind returns the populations that nobody asked after the barrier: that none of their
// answers was stale proves nothing.
func (c count) blind(courses []course) []population {
	var missing []population
	for _, co := range courses {
		if _, reached := co.last(); !reached {
			continue
		}
		for _, t := range tiers {
			for _, k := range kinds {
				if p := (population{co.region, t, k}); c.seen[p] == 0 {
					missing = append(missing, p)
				}
			}
		}
	}
	return missing
}
