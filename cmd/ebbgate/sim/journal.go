package sim

import (
	"encoding/json"
	"strings"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// record is a journal record with its place in time.
type record struct {
	term, revision uint64
	value          any
	by             string // who wrote it
}

func (r record) newer(than record) bool {
	return r.term > than.term || r.term == than.term && r.revision > than.revision
}

// replaces reports whether r, on the bus, takes the place of ours. Two that lead in the
// same term did not know of each other, and the bus knows who came last.
func (r record) replaces(ours record) bool {
	return r.newer(ours) || r.term == ours.term && r.by != ours.by
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
	c.term = 1
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
		case ours.newer(remote[key]):
			c.dirty[key] = true
		}
	}
}

// renew begins another term without a new process, as long as the lease has not moved on:
// the bus may have lost what it had not synced, and with it another controller's lease.
func (c *controller) renew() bool {
	b := c.w.bus
	if b.fence != c.fence || b.holder != c.self {
		c.crash("deposed")
		return false
	}
	b.takeLease(c)
	c.fence, c.sure = b.fence, c.w.now
	c.reconcile()
	for _, r := range c.w.regions {
		if d := c.wants[r].doc; d != nil && b.wants[r] != d {
			c.w.count("orders put again after a loss")
			c.again(rollout.Publish{App: app, Region: r}, nil)
		}
	}
	return true
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
	if c.w.strikes(faultCommit, 40) {
		c.crash("before a commit")
		return false
	}
	for _, key := range wire.Keys(put) {
		c.disk[key] = record{c.term, c.disk[key].revision + 1, put[key], c.self}
		c.dirty[key] = true
	}
	if c.w.strikes(faultCommit, 40) {
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
