package controller_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// One agent's word for content that nobody published does not stand in the way of what
// follows: it is purged by the new bundle's rules, for all its files.
func TestUnpublishedServed(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")

	a := f.agents["a1"]
	says := func(r wire.Running) {
		a.mu.Lock()
		a.running[edge] = &r
		a.mu.Unlock()
		a.poke()
		eventually(t, func() error {
			agents, err := d.Agents(t.Context(), ams)
			if err != nil {
				return err
			}
			for _, v := range agents {
				if v.Agent == "a1" && v.Report != nil && v.Report.Apps[edge].Running.Digest == r.Digest {
					return nil
				}
			}
			return errors.New("a1 is not heard")
		})
	}
	a.mu.Lock()
	well := *a.running[edge]
	a.mu.Unlock()
	odd := well
	odd.Digest, odd.Version = wire.DigestOf([]byte("nobody published this")), "0"
	says(odd)
	says(well)

	f.cache.Put("https://www.example.com/b", "edge-b") // b.conf is the same in 1 and 2
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	if f.cache.Has("https://www.example.com/b") {
		t.Error("what the unknown bundle may have answered is still cached")
	}
	if !strings.Contains(d.log.String(), "nobody published") {
		t.Error("the log does not tell")
	}
}
