package gossip

import (
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

func hashOf(i int) wire.Digest { return wire.DigestOf(fmt.Append(nil, i)) }

func TestAskingIsRepeatedAndBounded(t *testing.T) {
	s := newSpread(Config{Name: "a0"})
	have := func(i int, from wire.AgentID) note { return note{kindHave, hashOf(i), from} }
	if s.want(have(1, "a0")) {
		t.Error("asks itself")
	}
	if !s.want(have(1, "a1")) || s.want(have(1, "a2")) {
		t.Error("asks never, or twice at once")
	}
	for range maxAsks - 1 {
		if got := s.due()[hashOf(1)]; got != "a2" {
			t.Fatalf("asks %q again, want the last that told", got)
		}
	}
	if due := s.due(); len(due) != 0 {
		t.Errorf("asks for ever: %v", due)
	}
	if !s.want(have(1, "a3")) {
		t.Error("does not ask after somebody has told again")
	}
	for i := range 100 {
		s.want(have(100+i, "a1"))
	}
	if len(s.wanted) != maxWanted {
		t.Errorf("%d documents asked for, want %d", len(s.wanted), maxWanted)
	}
}

func TestOnlyTheNewestIsSentOncePerPeer(t *testing.T) {
	s := newSpread(Config{Name: "a0"})
	for _, document := range []string{"old", "new"} {
		if err := s.broadcast([]byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(document string, from wire.AgentID) string {
		return string(s.beginSend(note{kindWant, wire.DigestOf([]byte(document)), from}))
	}
	if got := ask("old", "a1"); got != "" {
		t.Errorf("sends %q", got)
	}
	if first, second := ask("new", "a1"), ask("new", "a1"); first != "new" || second != "" {
		t.Errorf("sends %q, then %q", first, second)
	}
	s.endSend("a1")
	sent := 0
	for i := range 100 {
		if ask("new", wire.AgentID(fmt.Sprintf("b%d", i))) != "" {
			sent++
		}
	}
	if sent != maxSends {
		t.Errorf("%d sends at once, want %d", sent, maxSends)
	}
}

func TestMessagesAreCopiedAndNeverBlock(t *testing.T) {
	s := newSpread(Config{Name: "a0"})
	message := append([]byte{kindDocument}, "document"...)
	s.NotifyMsg(message)
	copy(message[1:], "XXXXXXXX")
	if got := string(<-s.arrived); got != "document" {
		t.Errorf("holds memberlist's buffer: %q", got)
	}
	for i := range 10_000 {
		s.NotifyMsg(message)
		s.NotifyMsg(note{kindHave, hashOf(i), "a1"}.encode())
		s.NotifyMsg([]byte{byte(i)})
	}
	s.NotifyMsg(make([]byte, wire.MaxDesired+2))
	for i := range 10_000 {
		s.mu.Lock()
		s.remember(hashOf(i))
		s.mu.Unlock()
	}
	if len(s.seen) != maxSeen || len(s.order) != maxSeen {
		t.Errorf("%d hashes remembered, in order %d, want %d", len(s.seen), len(s.order), maxSeen)
	}
}
