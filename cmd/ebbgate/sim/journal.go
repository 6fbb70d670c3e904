package sim

import (
	"encoding/json"
	"strings"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// record is a journal record with its place in time.
type record struct {
	place
	by    string // who wrote it
	after place  // of the record that it followed when its term began
	value any
}

// place is a term and how often a key was written.
type place struct{ term, revision uint64 }

func (p place) newer(than place) bool {
	return p.term > than.term || p.term == than.term && p.revision > than.revision
}

// replaces reports whether r, on the bus, takes the place of ours: it is newer, or
// somebody went on from before ours after the bus had lost that.
func (r record) replaces(ours record) bool {
	if r.term == ours.term && r.by == ours.by {
		return r.newer(ours.place)
	}
	return r.newer(ours.after)
}

// want is the desired document of a region with the orders it says.
type want struct {
	doc   *document
	above uint64 // without doc: the next sequence is above this
}

func (v want) sequence() uint64 {
	if v.doc != nil {
		return v.doc.sequence
	}
	return v.above
}

// reconcile begins a term: of every record the copy that counts is kept.
func (c *controller) reconcile() {
	c.term = c.fence
	remote := c.w.bus.journal
	for _, key := range wire.Keys(c.disk) {
		c.term = max(c.term, c.disk[key].term+1)
		if _, there := remote[key]; !there {
			c.dirty[key] = true
		}
	}
	for _, key := range wire.Keys(remote) {
		c.term = max(c.term, remote[key].term+1)
		switch ours := c.disk[key]; {
		case remote[key].replaces(ours):
			c.disk[key] = remote[key]
		case ours.newer(remote[key].place):
			c.dirty[key] = true
		}
	}
}

func (c *controller) load() {
	c.state = rollout.State{Record: rollout.Record{App: app}, Lost: wire.Duration(lost)}
	for _, key := range wire.Keys(c.disk) {
		switch v := c.disk[key].value.(type) {
		case []byte:
			var r rollout.Record
			if err := json.Unmarshal(v, &r); err != nil {
				c.w.fail("a record cannot be read: %v", err)
			}
			c.state.Record = r
		case want:
			c.wants[wire.Region(strings.TrimPrefix(key, "want."))] = v
		}
	}
}

// commit makes values durable, all or none; false: the controller died before or after.
func (c *controller) commit(put map[string]any) bool {
	often := 40 / int(c.w.haste())
	if c.w.strikes(faultCommit, often) {
		c.crash("before a commit")
		return false
	}
	for _, key := range wire.Keys(put) {
		old := c.disk[key]
		next := record{place{c.term, old.revision + 1}, c.self, old.after, put[key]}
		if old.term != c.term || old.by != c.self {
			next.after = old.place
		}
		c.disk[key] = next
		c.dirty[key] = true
	}
	if c.w.strikes(faultCommit, often) {
		c.crash("after a commit")
		return false
	}
	return true
}

// publish copies the journal to the bus, record by record.
func (c *controller) publish() error {
	for _, key := range wire.Keys(c.dirty) {
		if err := c.w.bus.putJournal(c, key, c.disk[key]); err != nil {
			return err
		}
		delete(c.dirty, key)
	}
	return nil
}
