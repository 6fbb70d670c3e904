package gossip

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Config describes this node to the peers of its region.
type Config struct {
	Name      wire.AgentID   // stable across restarts; required
	Region    wire.Region    // peers of another region are not heard; required
	Bind      string         // host:port to listen on, UDP and TCP; port 0 picks one; required
	Advertise string         // host:port that peers reach this node at; default: Bind
	Exchange  string         // host:port of this node's chunk exchange, told to the peers; may be empty
	Key       []byte         // 32 bytes, the region's; required
	OldKeys   [][]byte       // still accepted while a key is rotated
	Seeds     []string       // host:port of some peers; may be empty or hold this node itself
	Allow     []netip.Prefix // source addresses that are heard; empty: all
	// Rejoin is how often, give or take a quarter, absent seeds are joined again. Default
	// 60s.
	Rejoin time.Duration
	// OnDesired is called with every desired document that a peer offers and this node has
	// neither broadcast nor been given before. It has NOT been verified. It is called
	// from one goroutine and may block; documents that come too fast meanwhile are dropped.
	OnDesired func(envelope []byte)
	Logger    *slog.Logger // default: discard
}

// Peers is this node's view of its region.
type Peers struct{}

// New starts listening and joins the seeds in the background: a region none of whose
// seeds answers is no reason not to start.
func New(cfg Config) (*Peers, error) { return nil, errors.ErrUnsupported }

// Members returns the agents believed alive, this one included, in ascending order. It
// is a hint.
func (p *Peers) Members() []wire.AgentID { return nil }

// Exchange returns where a live peer's chunk exchange answers, "" when it has none or
// the peer is not known.
func (p *Peers) Exchange(id wire.AgentID) string { return "" }

// Addr returns host:port of the gossip listener.
func (p *Peers) Addr() string { return "" }

// Broadcast offers a desired document to the region and makes it the one that joining
// peers are offered. The caller has verified it and found it newer than the one before:
// call it for each accepted document, wherever it came from, also for those that
// OnDesired brought, because that is how a document travels on. It does not block.
// Broadcasting the same document again does nothing.
func (p *Peers) Broadcast(envelope []byte) error { return nil }

// Close leaves the region and stops. It is bounded and idempotent.
func (p *Peers) Close() error { return nil }
