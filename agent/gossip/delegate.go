package gossip

import (
	"bytes"

	"github.com/hashicorp/memberlist"

	"github.com/ebbgate/ebbgate/wire"
)

// The three messages. A note is its kind, 32 bytes of hash, and the name of who says it.
const (
	kindHave     = 'h' // note: I have this document
	kindWant     = 'w' // note: send it to me
	kindDocument = 'd' // followed by the document
)

const maxName = 63 // of an agent

// note is a message without a document.
type note struct {
	kind byte
	hash wire.Digest
	from wire.AgentID
}

func (n note) encode() []byte {
	b := append([]byte{n.kind}, n.hash[:]...)
	return append(b, n.from...)
}

// decodeNote reads what encode wrote.
func decodeNote(b []byte) (n note, ok bool) {
	head := 1 + len(n.hash)
	if len(b) <= head || len(b) > head+maxName || b[0] != kindHave && b[0] != kindWant {
		return note{}, false
	}
	n = note{kind: b[0], hash: wire.Digest(b[1:head]), from: wire.AgentID(b[head:])}
	return n, wire.CheckToken(string(n.from)) == nil
}

// NodeMeta implements memberlist.Delegate; the configuration's check keeps it below limit.
func (s *spread) NodeMeta(int) []byte { return nil }

// GetBroadcasts implements memberlist.Delegate. Documents do not fit its packets.
func (s *spread) GetBroadcasts(int, int) [][]byte { return nil }

// NotifyMsg implements memberlist.Delegate. b is memberlist's: it is copied.
func (s *spread) NotifyMsg(b []byte) {
	if len(b) > 1 && b[0] == kindDocument && len(b)-1 <= wire.MaxDesired {
		select {
		case s.arrived <- bytes.Clone(b[1:]):
		default: // it is offered again
		}
		return
	}
	if n, ok := decodeNote(b); ok {
		select {
		case s.inbox <- n:
		default:
		}
	}
}

// LocalState implements memberlist.Delegate: what two synchronising nodes tell each other.
func (s *spread) LocalState(bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil
	}
	return note{kindHave, s.hash, s.name}.encode()
}

// MergeRemoteState implements memberlist.Delegate.
func (s *spread) MergeRemoteState(b []byte, _ bool) { s.NotifyMsg(b) }

// NotifyJoin implements memberlist.EventDelegate. n is copied: memberlist changes it
// later under a lock of its own.
func (s *spread) NotifyJoin(n *memberlist.Node) {
	if wire.CheckToken(n.Name) != nil {
		return // not an agent, whatever key it holds
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[wire.AgentID(n.Name)] = *n
}

// NotifyUpdate implements memberlist.EventDelegate.
func (s *spread) NotifyUpdate(n *memberlist.Node) { s.NotifyJoin(n) }

// NotifyLeave implements memberlist.EventDelegate.
func (s *spread) NotifyLeave(n *memberlist.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, wire.AgentID(n.Name))
}

// members returns the names of the live members in ascending order.
func (s *spread) members() []wire.AgentID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Keys(s.nodes)
}

func (s *spread) node(id wire.AgentID) (n memberlist.Node, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, live = s.nodes[id]
	return n, live
}

// addresses returns where the live members are.
func (s *spread) addresses() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := make(map[string]bool, len(s.nodes))
	for _, n := range s.nodes {
		at[address(n)] = true
	}
	return at
}
