package rollout

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"sort"

	"github.com/ebbgate/ebbgate/wire"
)

// agentKey stands for an agent in an AgentSet.
type agentKey [6]byte

func keyOf(id wire.AgentID) agentKey {
	sum := sha256.Sum256([]byte(id))
	return agentKey(sum[:6])
}

// AgentSet is a set of agents as sorted six-byte prefixes of the SHA-256 of their names. A
// fleet of 5,000 takes 40 KB of a journal record this way. That two of a thousand agents
// share a prefix has a chance of 1 in 10^8.
type AgentSet []byte

func newAgentSet(keys []agentKey) AgentSet {
	slices.SortFunc(keys, func(a, b agentKey) int { return bytes.Compare(a[:], b[:]) })
	keys = slices.Compact(keys)
	var s AgentSet
	for _, k := range keys {
		s = append(s, k[:]...)
	}
	return s
}

// find returns the offset of the first entry not below k.
func (s AgentSet) find(k agentKey) int {
	const size = len(agentKey{})
	return size * sort.Search(len(s)/size, func(i int) bool {
		return bytes.Compare(s[i*size:(i+1)*size], k[:]) >= 0
	})
}

func (s AgentSet) has(k agentKey) bool { return bytes.HasPrefix(s[s.find(k):], k[:]) }

// without returns the set without k.
func (s AgentSet) without(k agentKey) AgentSet {
	i := s.find(k)
	if !bytes.HasPrefix(s[i:], k[:]) {
		return s
	}
	return slices.Concat(s[:i], s[i+len(k):])
}

// Len returns the number of agents.
func (s AgentSet) Len() int { return len(s) / len(agentKey{}) }
