package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// moment is one thing that the outside saw.
type moment struct {
	what   string // "ordered", "confirmed", "purge"
	app    wire.App
	region wire.Region
	agent  wire.AgentID
	epoch  wire.Epoch
	detail string // "stage" or "activate" of an order; selectors of a purge
}

func (m moment) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s/%s %s epoch %d %s", m.what, m.app, m.region, m.agent, m.epoch, m.detail))
}

// timeline is everything in the order in which it happened.
type timeline struct {
	mu  sync.Mutex // guards all
	all []moment
}

func (l *timeline) add(m moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, m)
}

func (l *timeline) list() []moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// first and last return the position of a moment, or -1.
func (l *timeline) first(is func(moment) bool) int { return slices.IndexFunc(l.list(), is) }

func (l *timeline) last(is func(moment) bool) int {
	all := l.list()
	for i := len(all) - 1; i >= 0; i-- {
		if is(all[i]) {
			return i
		}
	}
	return -1
}

func confirmed(app wire.App, r wire.Region, e wire.Epoch) func(moment) bool {
	return func(m moment) bool {
		return m.what == "confirmed" && m.app == app && m.region == r && m.epoch == e
	}
}

func ordered(app wire.App, r wire.Region, e wire.Epoch, phase string) func(moment) bool {
	return func(m moment) bool {
		return m.what == "ordered" && m.app == app && m.region == r && m.epoch == e && m.detail == phase
	}
}

// purgesBetween returns the purges of a region after one position and before another; -1
// means the end.
func (l *timeline) purgesBetween(r wire.Region, after, before int) (purges []moment) {
	all := l.list()
	if before < 0 {
		before = len(all)
	}
	for i, m := range all {
		if m.what == "purge" && m.region == r && i > after && i < before {
			purges = append(purges, m)
		}
	}
	return purges
}

// dump writes the timeline to the log of a failed test.
func (l *timeline) dump(t *testing.T) {
	if t.Failed() {
		for i, m := range l.list() {
			t.Logf("%3d %s", i, m)
		}
	}
}
