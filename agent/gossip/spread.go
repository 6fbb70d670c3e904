package gossip

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	roundEvery = 50 * time.Millisecond
	fanOut     = 3                      // peers told per round
	askEvery   = 300 * time.Millisecond // for a document that does not come, whoever told of it last
	maxAsks    = 8                      // then it is forgotten until somebody tells of it again
	maxWanted  = 8                      // documents asked for at once
	maxSends   = 8                      // documents being sent at once
	maxSeen    = 64                     // hashes remembered
	maxInbox   = 256                    // notes not yet looked at
	maxArrived = 4                      // documents not yet given to OnDesired
)

// spread holds the newest document and tells of it. It is memberlist's delegate for
// messages and events; none of those methods blocks.
type spread struct {
	name    wire.AgentID
	deliver func([]byte)

	inbox   chan note
	arrived chan []byte
	kick    chan struct{} // there is a new document to tell of

	mu      sync.Mutex                       // guards what follows
	nodes   map[wire.AgentID]memberlist.Node // name → live member, a copy
	newest  []byte                           // nil: none
	hash    wire.Digest                      // of newest
	seen    map[wire.Digest]bool             // documents broadcast or given to OnDesired
	order   []wire.Digest                    // of seen, oldest first
	wanted  map[wire.Digest]*ask             // documents asked for
	sending map[wire.AgentID]bool            // peers that are being sent a document
}

func newSpread(cfg Config) *spread {
	return &spread{
		name: cfg.Name, deliver: cfg.OnDesired,
		inbox: make(chan note, maxInbox), arrived: make(chan []byte, maxArrived), kick: make(chan struct{}, 1),
		nodes: make(map[wire.AgentID]memberlist.Node), seen: make(map[wire.Digest]bool),
		wanted: make(map[wire.Digest]*ask), sending: make(map[wire.AgentID]bool),
	}
}

// run starts the goroutines that end with ctx.
func (s *spread) run(ctx context.Context, work *sync.WaitGroup, list *memberlist.Memberlist) {
	work.Go(func() { s.tell(ctx, list) })
	work.Go(func() { s.answer(ctx, work, list) })
	work.Go(func() { s.hand(ctx) })
}

func (s *spread) broadcast(envelope []byte) error {
	if len(envelope) == 0 || len(envelope) > wire.MaxDesired {
		return fmt.Errorf("gossip: %w: %d bytes, want 1 to %d", wire.ErrTooLarge, len(envelope), wire.MaxDesired)
	}
	hash := wire.DigestOf(envelope)
	s.mu.Lock()
	if hash == s.hash {
		s.mu.Unlock()
		return nil
	}
	s.newest, s.hash = bytes.Clone(envelope), hash
	s.remember(hash)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return nil
}

// remember adds to seen; the caller holds mu.
func (s *spread) remember(hash wire.Digest) {
	delete(s.wanted, hash)
	if s.seen[hash] {
		return
	}
	if len(s.order) == maxSeen {
		delete(s.seen, s.order[0])
		s.order = s.order[1:]
	}
	s.seen[hash], s.order = true, append(s.order, hash)
}

// tell tells random peers of the newest document, in rounds, and is still otherwise. A
// newer document begins anew: nobody needs the older one.
func (s *spread) tell(ctx context.Context, list *memberlist.Memberlist) {
	tick := time.NewTicker(roundEvery)
	tick.Stop()
	defer tick.Stop()
	rounds := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
			// A node is told by nobody with probability e^-(fanOut·rounds), once all others
			// know; log n rounds go by until then.
			rounds = 4 + bits.Len(uint(len(s.members())))
			tick.Reset(roundEvery)
		case <-tick.C:
		}
		frame := s.LocalState(false)
		for _, n := range s.some(fanOut) {
			_ = list.SendBestEffort(&n, frame) // the next round is the retry
		}
		if rounds--; rounds <= 0 {
			tick.Stop()
		}
	}
}

// ask is a request for a document.
type ask struct {
	from  wire.AgentID // who told of it last
	count int          // how often it was asked for
}

// answer acts on notes: asks for documents it does not know, sends those it is asked for.
func (s *spread) answer(ctx context.Context, work *sync.WaitGroup, list *memberlist.Memberlist) {
	again := time.NewTicker(askEvery)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			// A request is one packet, and a peer does not answer a member it has not
			// heard of yet, or still believes dead: one that comes back is in that case.
			due := s.due()
			if len(due) == 0 {
				again.Stop()
			}
			for hash, from := range due {
				s.ask(list, hash, from)
			}
		case in := <-s.inbox:
			switch in.kind {
			case kindHave:
				if s.want(in) {
					s.ask(list, in.hash, in.from)
					again.Reset(askEvery)
				}
			case kindWant:
				peer, known := s.node(in.from)
				if !known {
					continue
				}
				document := s.beginSend(in)
				if document == nil {
					continue
				}
				work.Go(func() {
					defer s.endSend(in.from)
					// If it fails, the peer asks again.
					_ = list.SendReliable(&peer, append([]byte{kindDocument}, document...))
				})
			}
		}
	}
}

func (s *spread) ask(list *memberlist.Memberlist, hash wire.Digest, from wire.AgentID) {
	if peer, known := s.node(from); known {
		_ = list.SendBestEffort(&peer, note{kindWant, hash, s.name}.encode())
	}
}

// want reports whether a document is to be asked for now.
func (s *spread) want(in note) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, asked := s.wanted[in.hash]; asked {
		a.from = in.from
		return false
	}
	if in.from == s.name || s.seen[in.hash] || len(s.wanted) >= maxWanted {
		return false
	}
	s.wanted[in.hash] = &ask{in.from, 1}
	return true
}

// due returns what is to be asked for again, and of whom, and forgets what has been
// asked for in vain.
func (s *spread) due() map[wire.Digest]wire.AgentID {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := make(map[wire.Digest]wire.AgentID)
	for hash, a := range s.wanted {
		if a.count++; a.count > maxAsks {
			delete(s.wanted, hash)
			continue
		}
		due[hash] = a.from
	}
	return due
}

// beginSend returns the document a peer asks for, nil if it is not to be sent: another
// one is newest by now, that peer is being sent one, or too many are.
func (s *spread) beginSend(in note) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.hash != s.hash || s.newest == nil || s.sending[in.from] || len(s.sending) >= maxSends {
		return nil
	}
	s.sending[in.from] = true
	return s.newest
}

func (s *spread) endSend(to wire.AgentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sending, to)
}

// hand gives documents that were asked for to the caller.
func (s *spread) hand(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case document := <-s.arrived:
			hash := wire.DigestOf(document)
			s.mu.Lock()
			_, asked := s.wanted[hash]
			fresh := asked && !s.seen[hash]
			if fresh {
				s.remember(hash)
			}
			s.mu.Unlock()
			if fresh {
				s.deliver(document)
			}
		}
	}
}

// some returns up to n random live peers.
func (s *spread) some(n int) []memberlist.Node {
	members := s.members()
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	var nodes []memberlist.Node
	for _, id := range members {
		if node, live := s.node(id); live && id != s.name && len(nodes) < n {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
