package gossip

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// KeySize is the length of a region's key: AES-256.
const KeySize = 32

// Config describes this node to the peers of its region.
type Config struct {
	Name      wire.AgentID   // stable across restarts; required
	Region    wire.Region    // peers of another region are not heard; required
	Bind      string         // IP:port to listen on, UDP and TCP; port 0 picks one; required
	Advertise string         // IP:port that peers reach this node at; default: Bind
	Key       []byte         // KeySize bytes, the region's; required
	OldKeys   [][]byte       // still accepted while a key is rotated
	Seeds     []string       // host:port of some peers; may be empty or hold this node itself
	Allow     []netip.Prefix // addresses that members may have; empty: all
	// Rejoin is how often, give or take a quarter, absent seeds are joined again: after a
	// partition memberlist does not by itself. Default 60s.
	Rejoin time.Duration
	// OnDesired is called with every desired document that a peer offers and this node has
	// neither broadcast nor been given before. It has NOT been verified. It is called
	// from one goroutine and may block; documents that come too fast meanwhile are
	// dropped, and offered again when peers synchronise. Close waits for it.
	OnDesired func(envelope []byte)
	Logger    *slog.Logger // default: discard
}

func (c *Config) validate() error {
	fail := func(field, format string, args ...any) error {
		return fmt.Errorf("gossip: %s: %s", field, fmt.Sprintf(format, args...))
	}
	if err := wire.CheckToken(string(c.Name)); err != nil {
		return fail("name", "%v", err)
	}
	if err := wire.CheckToken(string(c.Region)); err != nil {
		return fail("region", "%v", err)
	}
	if _, err := netip.ParseAddrPort(c.Bind); err != nil {
		return fail("bind", "%q is not IP:port", c.Bind)
	}
	if a, err := netip.ParseAddrPort(c.Advertise); c.Advertise != "" && (err != nil || a.Port() == 0 || a.Addr().IsUnspecified()) {
		return fail("advertise", "%q is not IP:port", c.Advertise)
	}
	for i, k := range append([][]byte{c.Key}, c.OldKeys...) {
		if len(k) != KeySize {
			return fail("key", "number %d has %d bytes, want %d", i, len(k), KeySize)
		}
	}
	for _, s := range c.Seeds {
		if !hostPort(s) {
			return fail("seeds", "%q is not host:port", s)
		}
	}
	if c.Rejoin == 0 {
		c.Rejoin = time.Minute
	}
	if c.Rejoin < 0 {
		return fail("rejoin", "is negative")
	}
	if c.OnDesired == nil {
		c.OnDesired = func([]byte) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// hostPort also bounds the length: what a node tells of itself is at most 512 bytes, and
// memberlist panics beyond.
func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && len(s) <= 261
}
