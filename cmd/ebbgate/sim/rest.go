package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// patience is how long the fleet may take to come to rest once everything has healed.
const patience = 10 * time.Minute

// rest: everything that is well comes to an end, within the time promised, and to the
// same content. An operator resumes whatever waits for one, and aborts where resuming does not
// help: nobody runs the release.
func (w *world) rest() {
	if w.ends() {
		return
	}
	c := w.leader()
	if c == nil {
		w.fail("nobody leads %s after everything has healed", patience)
	}
	sum := rollout.Status(c.state)
	if sum.Rollout != nil {
		w.fail("rollout %s does not come to an end: %s, %s", sum.Rollout.ID, sum.Rollout.Status, sum.Rollout.Reason)
	}
	w.fail("the fleet does not come to rest")
}

// ends lets the fleet come to rest and reports whether it has.
func (w *world) ends() bool {
	for end := w.now.Add(patience + w.handicap()); w.now.Before(end); {
		w.run(20 * time.Second)
		if w.quiet() {
			w.run(2 * time.Minute) // late ones converge, and their purges follow
			if w.quiet() {
				w.settled()
				return true
			}
		}
		if w.resume() {
			w.count("resumed at the end")
		}
		if w.nobody() && w.order(func(now time.Time) rollout.Event { return rollout.Abort{Now: now, By: "kim"} }) {
			w.count("aborted at the end")
		}
		// Where all agents are drained there is nothing that a gate could be read of.
		w.order(func(now time.Time) rollout.Event { return rollout.Promote{Now: now, By: "lee"} })
	}
	return false
}

// nobody reports whether a region holds because nobody in it runs the release.
func (w *world) nobody() bool {
	c := w.leader()
	return c != nil && slices.ContainsFunc(w.regions, func(r wire.Region) bool {
		h := c.state.Regions[r].Hold
		return h != nil && h.Kind == rollout.HoldNobody
	})
}

// handicap is what regions may take longer in which agents have a reason of their own not to
// follow: each is waited for until its deadline, perhaps one after the other, and one in
// each step that lets it in.
func (w *world) handicap() (more time.Duration) {
	c := w.leader()
	if c == nil || c.state.Rollout == nil || c.state.Rollout.Status.Ended() {
		return 0
	}
	for _, r := range w.regions {
		next := c.state.Regions[r].Next
		if next == nil {
			continue
		}
		excused := 0
		for _, n := range w.nodes[r] {
			if n.excused(next.Target) {
				excused++
			}
		}
		if excused > 0 {
			more += time.Duration(2+excused) * c.state.Rollout.Plan.Deadline.Std()
		}
	}
	return more
}

// quiet reports whether nothing is under way.
func (w *world) quiet() bool {
	c := w.leader()
	if c == nil || c.state.Rollout != nil && !c.state.Rollout.Status.Ended() {
		return false
	}
	for _, r := range w.regions {
		if p := c.state.Regions[r].Purge; p != nil && p.Verified.IsZero() || c.state.Regions[r].Late {
			return false
		}
	}
	return true
}

// settled: every agent that has no reason of its own not to is at its region's committed
// epoch, and then no cache holds anything else.
func (w *world) settled() {
	c := w.leader()
	if c.state.Rollout != nil {
		w.count("ended " + string(c.state.Rollout.Status))
	}
	for _, r := range w.regions {
		rr := c.state.Regions[r]
		if rr.Committed == nil {
			continue
		}
		whole := true
		for _, n := range w.nodes[r] {
			if n.excused(*rr.Committed) {
				w.count("agent left with a reason")
				whole = false
				continue
			}
			if n.state.Running == nil || n.state.Running.Epoch != rr.Committed.Epoch || n.live != (content{rr.Committed.Digest, rr.Committed.Epoch}) {
				w.fail("%s does not converge: it serves epoch %d, its region is committed to %d", n.id, n.live.epoch, rr.Committed.Epoch)
			}
		}
		if !whole {
			continue
		}
		for _, old := range w.caches[r].stale(rr.Committed.Digest) {
			if !w.caches[r].secret(old) {
				w.fail("%s runs epoch %d everywhere and epoch %d may be cached", r, rr.Committed.Epoch, old.epoch)
			}
		}
		w.count("region clean at the end")
	}
}

// excused reports whether the node will not run t whatever is ordered: it is bad there,
// below its floor, or pinned on the node.
func (n *node) excused(t wire.Target) bool {
	_, bad := n.state.Forbids(t)
	return bad || n.state.Floor.Compare(t.Version) > 0 || n.state.Pinned >= t.Epoch
}
