// Package gossip connects the agents of one region with each other: who is there, and
// which desired document the region has last been given. memberlist does the first
// part, a small epidemic of our own the second.
//
// # A hint and no more
//
// Whoever holds the region's key can join, and whoever has joined can say anything.
// So membership may pause a rollout and never advance one, and a document is worth
// what its signature is worth: this package carries it, hands it to [Config.OnDesired]
// unverified, and passes on to others only what the caller has verified and given to
// [Peers.Broadcast]. A peer that invents documents reaches its direct neighbours and
// nobody behind them.
//
// # How a document travels
//
// A desired document does not fit a UDP packet, so packets carry its hash: a node
// that has a new one tells three random peers at once and three more every 50 ms for a
// few rounds. A peer that does not know the hash asks for the document and is sent it
// over TCP. Only the newest document is ever offered; an idle region sends nothing but
// memberlist's own probes. Two nodes that synchronise, as joining ones do, tell each
// other the hash too.
package gossip
