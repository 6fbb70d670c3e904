package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// members returns whom the node's gossip believes alive, itself included: whose agent is
// up, the bus being no part of it; or whatever it makes up.
func (n *node) members() []wire.AgentID {
	var alive []wire.AgentID
	for _, o := range n.w.nodes[n.region] {
		if o == n || n.liar == nil && o.up || n.liar[o.id] {
			alive = append(alive, o.id)
		}
	}
	return alive
}

// lie makes it up for a while.
func (n *node) lie(l luck) {
	if n.liar != nil {
		return
	}
	n.w.hit(faultGossip, n.region)
	n.liar = make(map[wire.AgentID]bool)
	for _, o := range n.w.nodes[n.region] {
		n.liar[o.id] = l.one(2)
	}
	n.w.log("the gossip of %s lies", n.id)
	n.w.after(l.between(10*time.Second, 90*time.Second), func() { n.liar = nil })
}
