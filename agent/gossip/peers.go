package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	tcpTimeout   = 5 * time.Second  // of one stream, either way
	leaveTimeout = time.Second      // for telling the region that we go
	reclaim      = 10 * time.Second // after which a dead member's name may come back with another address
	maxJoins     = 8                // seeds per attempt
)

// Peers is this node's view of its region.
type Peers struct {
	cfg    Config
	list   *memberlist.Memberlist
	spread *spread
	cancel context.CancelFunc
	work   sync.WaitGroup

	closing sync.Once
}

// New starts listening and joins the seeds in the background: a region none of whose
// seeds answers is no reason not to start.
func New(cfg Config) (*Peers, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	logger := log.New(&logWriter{to: cfg.Logger}, "", 0)
	t, err := newTransport(netip.MustParseAddrPort(cfg.Bind), logger)
	if err != nil {
		return nil, fmt.Errorf("gossip: bind: %w", err)
	}
	p := &Peers{cfg: cfg, spread: newSpread(cfg)}
	mc := memberlist.DefaultLANConfig()
	mc.Name = string(cfg.Name)
	mc.Label = string(cfg.Region)
	mc.Transport = t
	mc.BindAddr = netip.MustParseAddrPort(cfg.Bind).Addr().String()
	mc.BindPort = t.GetAutoBindPort()
	mc.AdvertisePort = mc.BindPort
	if cfg.Advertise != "" {
		a := netip.MustParseAddrPort(cfg.Advertise)
		mc.AdvertiseAddr, mc.AdvertisePort = a.Addr().String(), int(a.Port())
	}
	mc.TCPTimeout = tcpTimeout
	mc.DeadNodeReclaimTime = reclaim
	mc.EnableCompression = false
	mc.Delegate, mc.Events = p.spread, p.spread
	mc.Logger = logger
	for _, a := range cfg.Allow {
		mc.CIDRsAllowed = append(mc.CIDRsAllowed, net.IPNet{
			IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
		})
	}
	mc.Keyring, err = memberlist.NewKeyring(cfg.OldKeys, cfg.Key)
	if err == nil {
		p.list, err = memberlist.Create(mc)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gossip: %w", err), t.Shutdown())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.spread.run(ctx, &p.work, p.list)
	p.work.Go(func() { p.rejoin(ctx) })
	return p, nil
}

// Members returns the agents believed alive, this one included, in ascending order. It
// is a hint.
func (p *Peers) Members() []wire.AgentID { return p.spread.members() }

// Addr returns the IP:port that peers are told to reach this node at.
func (p *Peers) Addr() string { return p.list.LocalNode().Address() }

// Broadcast offers a desired document to the region and makes it the one that joining
// peers are offered. The caller has verified it and found it newer than the one before:
// call it for each accepted document, wherever it came from, also for those that
// OnDesired brought, because that is how a document travels on. It copies the
// document and does not block. Broadcasting the same document again does nothing. The
// error is a [wire.ErrTooLarge].
func (p *Peers) Broadcast(envelope []byte) error { return p.spread.broadcast(envelope) }

// rejoin joins the seeds that are not members, at first often, while this node is
// alone, then every Rejoin.
func (p *Peers) rejoin(ctx context.Context) {
	if len(p.cfg.Seeds) == 0 {
		return
	}
	soon := min(time.Second, p.cfg.Rejoin)
	for {
		p.join(ctx)
		wait := p.cfg.Rejoin
		if len(p.Members()) < 2 {
			wait, soon = soon, min(2*soon, p.cfg.Rejoin)
		}
		wait = wait*3/4 + rand.N(wait/2+1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// join tries absent seeds in random order.
func (p *Peers) join(ctx context.Context) {
	seeds := slices.Clone(p.cfg.Seeds)
	rand.Shuffle(len(seeds), func(i, j int) { seeds[i], seeds[j] = seeds[j], seeds[i] })
	present := p.spread.addresses()
	tried := 0
	for _, seed := range seeds {
		if ctx.Err() != nil || tried == maxJoins {
			return
		}
		if present[seed] {
			continue
		}
		tried++
		if _, err := p.list.Join([]string{seed}); err != nil {
			p.cfg.Logger.Debug("cannot join a seed", "seed", seed, "err", err)
		}
	}
}

// Close leaves the region and stops. It takes at most fifteen seconds, usually well
// below one, and is idempotent.
func (p *Peers) Close() error { return p.stop(true) }

func (p *Peers) stop(leave bool) (err error) {
	p.closing.Do(func() {
		p.cancel()
		// Leave panics after Shutdown.
		if leave {
			if lerr := p.list.Leave(leaveTimeout); lerr != nil {
				p.cfg.Logger.Warn("gossip: the region was not told that this node leaves", "err", lerr)
			}
		}
		if serr := p.list.Shutdown(); serr != nil {
			err = fmt.Errorf("gossip: %w", serr)
		}
		p.work.Wait()
	})
	return err
}

func address(n memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}
