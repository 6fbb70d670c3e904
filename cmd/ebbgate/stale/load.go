package stale

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// site is where a region's caches answer.
type site struct {
	region wire.Region
	caches map[tier]string // tier → host:port
}

const (
	hotPages     = 40 // of a region, half of them behind each node
	coldPages    = 40
	edgeCallers  = 3 // of a region; a client of the shield is rare
	slowEvery    = 100 * time.Millisecond
	cacheHeader  = "X-Cache" // hit or miss, of the cache that was asked
	nodesOfASite = "ab"      // the second part of a path names the node that answers it
)

// load asks all caches of all regions, from its start to its end.
type load struct {
	run   string        // first part of every path, so that no run meets pages of another
	fetch time.Duration // that slow pages take
	sites []site
	pause time.Duration // between two requests of one caller

	stop    chan struct{} // closed at the end
	ripe    chan struct{} // closed when the barrier is reached: no more slow pages, and the cold ones again
	wg      sync.WaitGroup
	asked   atomic.Int64 // answers so far
	chilled atomic.Int64 // regions whose cold pages have been asked for the first time
	rechill atomic.Int64 // and again

	mu      sync.Mutex               // guards all below
	answers []answer                 // of callers that have ended
	known   map[wire.Region][]string // slow pages that were answered once
}

// startLoad begins to ask, about so many times a second in all.
func startLoad(run string, sites []site, fetch time.Duration, perSecond int) *load {
	l := &load{
		run: run, fetch: fetch, sites: sites, stop: make(chan struct{}), ripe: make(chan struct{}), known: make(map[wire.Region][]string),
	}
	l.pause = time.Duration(len(sites)*(edgeCallers+2)) * time.Second / time.Duration(perSecond)
	for _, s := range sites {
		for i := range edgeCallers + 1 {
			at := edge
			if i == edgeCallers {
				at = shield
			}
			l.wg.Go(func() { l.browse(s, at) })
		}
		l.wg.Go(func() { l.poll(s) })
		l.wg.Go(func() { l.chill(s) })
		l.wg.Go(func() { l.lag(s) })
	}
	return l
}

func (l *load) path(k kind, i int, of string) string {
	return fmt.Sprintf("/%s/%c/%s%s/%d", l.run, nodesOfASite[i%len(nodesOfASite)], k, of, i)
}

// browse asks for hot pages, one after the other.
func (l *load) browse(s site, at tier) {
	c := &caller{address: s.caches[at]}
	defer c.close()
	var mine []answer
	defer func() { l.keep(mine...) }()
	l.paced(func() {
		mine = append(mine, l.label(c.ask(l.path(hot, rand.IntN(hotPages), "")), s, at, hot))
	})
}

// paced does something over and over until the load ends. What took long is not made up
// for.
func (l *load) paced(do func()) {
	timer := time.NewTimer(rand.N(l.pause))
	defer timer.Stop()
	for next := time.Now(); ; {
		select {
		case <-l.stop:
			return
		case <-timer.C:
		}
		do()
		next = later(next.Add(l.pause), time.Now())
		timer.Reset(time.Until(next))
	}
}

// poll asks for slow pages that somebody has had already, and does not wait for one before
// it asks for the next: most are cached, and a page that has to be fetched must not keep
// the others from being looked at.
func (l *load) poll(s site) {
	type question struct {
		at   tier
		path string
	}
	var mu sync.Mutex
	open := make(map[question]bool)  // guarded by mu
	idle := make(map[tier][]*caller) // guarded by mu; nil once the load has ended
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range slices.Concat(idle[shield], idle[edge]) {
			c.close()
		}
		idle = nil
	}()
	l.paced(func() {
		known := l.pages(s.region)
		if len(known) == 0 {
			return
		}
		q := question{edge, known[rand.IntN(len(known))]}
		if rand.IntN(edgeCallers+1) == 0 {
			q.at = shield
		}
		mu.Lock()
		defer mu.Unlock()
		if open[q] {
			return
		}
		open[q] = true
		c := &caller{address: s.caches[q.at]}
		if n := len(idle[q.at]); n > 0 {
			c, idle[q.at] = idle[q.at][n-1], idle[q.at][:n-1]
		}
		l.wg.Go(func() {
			l.keep(l.label(c.ask(q.path), s, q.at, slow))
			mu.Lock()
			defer mu.Unlock()
			delete(open, q)
			if idle == nil {
				c.close()
				return
			}
			idle[q.at] = append(idle[q.at], c)
		})
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pages returns the slow pages of a region that have been answered.
func (l *load) pages(r wire.Region) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[r]
}

func (l *load) label(a answer, s site, at tier, k kind) answer {
	a.region, a.tier, a.kind = s.region, at, k
	l.asked.Add(1)
	return a
}

func (l *load) keep(more ...answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, more...)
}

// chill fills the cold pages through both tiers, and asks for them again when it is time,
// the edge first: what nobody refreshes meanwhile is what a purge has to reach.
func (l *load) chill(s site) {
	l.sweep(s, edge)
	l.chilled.Add(1)
	select {
	case <-l.stop:
		return
	case <-l.ripe:
	}
	l.sweep(s, edge)
	l.sweep(s, shield)
	l.rechill.Add(1)
}

func (l *load) sweep(s site, at tier) {
	c := &caller{address: s.caches[at]}
	defer c.close()
	var mine []answer
	for i := range coldPages {
		mine = append(mine, l.label(c.ask(l.path(cold, i, "")), s, at, cold))
	}
	l.keep(mine...)
}

// lag begins to ask for a slow page every now and then, so that answers are on their way
// from the origin at any moment. Others ask for the same page while it is fetched, at the
// edge and at the shield.
func (l *load) lag(s site) {
	tick := time.NewTicker(slowEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-l.ripe:
			return
		case <-tick.C:
		}
		path := l.path(slow, i, "/"+l.fetch.String())
		for _, q := range []struct {
			at    tier
			after time.Duration
		}{{edge, 0}, {edge, l.fetch / 2}, {shield, l.fetch / 2}} {
			l.wg.Go(func() {
				if !l.wait(q.after) {
					return
				}
				c := &caller{address: s.caches[q.at]}
				defer c.close()
				a := l.label(c.ask(path), s, q.at, slow)
				l.keep(a)
				if a.good() {
					l.learn(s.region, path)
				}
			})
		}
	}
}

// wait returns false if the load ended meanwhile.
func (l *load) wait(d time.Duration) bool {
	select {
	case <-l.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (l *load) learn(r wire.Region, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.known[r]; !slices.Contains(known, path) {
		l.known[r] = append(slices.Clip(known), path) // readers have the old one
	}
}

// end stops the load and returns all answers.
func (l *load) end() []answer {
	close(l.stop)
	l.wg.Wait()
	return l.answers
}
