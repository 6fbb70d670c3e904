package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

// pollEvery is how often the newest order is asked for, give or take a quarter, although
// it should have been announced.
const pollEvery = time.Minute

// orders is what the region is ordered to run: the newest desired document that was
// verified, wherever it came from, and on disk before anybody acts on it.
type orders struct {
	a     *Agent
	heard chan []byte   // documents to look at
	ask   chan struct{} // something may have been missed

	mu       sync.Mutex // guards the rest
	desired  *wire.Desired
	envelope []byte
	behind   uint64            // head a beacon told of that is above desired
	beaconAt time.Time         // when the last beacon came
	refused  map[string]uint64 // reason → how many messages
}

func newOrders(a *Agent) *orders {
	return &orders{a: a, heard: make(chan []byte, 16), ask: make(chan struct{}, 1), refused: make(map[string]uint64)}
}

// load takes up the last order from disk, for a start without a network.
func (o *orders) load() error {
	envelope, sequence, err := o.a.store.Desired()
	if err != nil || sequence == 0 {
		return err
	}
	d, err := o.a.trust.OpenDesired(envelope, o.a.cfg.Region)
	if err != nil {
		// The root was replaced or the node moved to another region. What runs goes on.
		o.a.cfg.Logger.Warn("the order kept on disk is not accepted any more", "err", err)
		return nil
	}
	o.desired, o.envelope = d, envelope
	return nil
}

// order returns what is ordered of an app, and the sequence of the order.
func (o *orders) order(app wire.App) (wire.Order, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.desired == nil {
		return wire.Order{}, 0
	}
	return o.desired.Apps[app], o.desired.Sequence
}

// note is called by the bus; nil says that something may have been missed.
func (o *orders) note(envelope []byte) {
	if envelope == nil {
		poke(o.ask)
		poke(o.a.reports.retry)
		return
	}
	o.hear(envelope)
}

// gossip is called by the peers.
func (o *orders) gossip(envelope []byte) { o.hear(envelope) }

func (o *orders) hear(envelope []byte) {
	if len(envelope) > wire.MaxDesired {
		o.refuse(fmt.Errorf("desired: %w", wire.ErrTooLarge))
		return
	}
	select {
	case o.heard <- envelope:
	default:
		poke(o.ask)
	}
}

// beacon is called by the bus: a head above what is known here is asked for.
func (o *orders) beacon(envelope []byte) {
	if envelope == nil {
		return
	}
	b, err := o.a.trust.OpenBeacon(envelope)
	if err != nil {
		o.refuse(err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.beaconAt, o.behind = time.Now(), 0
	if head := b.Heads[o.a.cfg.Region]; o.desired == nil && head > 0 || o.desired != nil && head > o.desired.Sequence {
		o.behind = head
		poke(o.ask)
	}
}

// run looks at every document heard, and asks for the newest when one may be missing.
func (o *orders) run(ctx context.Context) error {
	for {
		again := time.NewTimer(pollEvery*3/4 + rand.N(pollEvery/2))
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case envelope := <-o.heard:
			if err := o.accept(envelope); err != nil {
				return err
			}
		case <-o.ask:
			if err := o.poll(ctx); err != nil {
				return err
			}
		case <-again.C:
			if err := o.poll(ctx); err != nil {
				return err
			}
		}
		again.Stop()
	}
}

func (o *orders) poll(ctx context.Context) error {
	envelope, err := o.a.bus.Want(ctx, o.a.cfg.Region)
	switch {
	case err == nil:
		return o.accept(envelope)
	case errors.Is(err, wire.ErrNotFound), errors.Is(err, wire.ErrDisconnected), ctx.Err() != nil:
	default:
		o.a.cfg.Logger.Warn("cannot ask for the newest order", "err", err)
	}
	return nil
}

// accept verifies a document and, if it is newer than any before, writes it down and
// lets everybody act on it. It returns only fatal errors.
func (o *orders) accept(envelope []byte) error {
	o.mu.Lock()
	known, seen := bytes.Equal(envelope, o.envelope), uint64(0)
	if o.desired != nil {
		seen = o.desired.Sequence
	}
	o.mu.Unlock()
	if known {
		return nil
	}
	d, err := o.a.trust.OpenDesired(envelope, o.a.cfg.Region)
	if err == nil && d.Sequence <= seen {
		err = fmt.Errorf("desired: %w: sequence %d after %d", wire.ErrReplay, d.Sequence, seen)
	}
	if err == nil {
		err = o.a.store.SetDesired(envelope, d.Sequence)
	}
	if errors.Is(err, release.ErrSync) {
		return err
	}
	if err != nil {
		o.refuse(err)
		return nil
	}
	o.a.cfg.trace("desired written")
	o.mu.Lock()
	o.desired, o.envelope = d, bytes.Clone(envelope)
	if d.Sequence >= o.behind {
		o.behind = 0
	}
	o.mu.Unlock()
	o.a.cfg.Logger.Info("order accepted", "sequence", d.Sequence)
	for _, w := range o.a.apps {
		poke(w.wake)
	}
	o.rebroadcast()
	o.a.reports.changed()
	return nil
}

// rebroadcast hands the newest order to the peers.
func (o *orders) rebroadcast() {
	o.mu.Lock()
	envelope := o.envelope
	o.mu.Unlock()
	p := o.a.peers.Load()
	if p == nil || envelope == nil {
		return
	}
	if err := p.Broadcast(envelope); err != nil {
		o.a.cfg.Logger.Warn("cannot gossip the order", "err", err)
	}
}

// refuse counts something that arrived and was not accepted.
func (o *orders) refuse(err error) {
	reason := "other"
	for _, r := range []struct {
		is   error
		name string
	}{
		{wire.ErrSignature, "signature"}, {wire.ErrReplay, "replay"}, {wire.ErrTooLarge, "too-large"},
		{wire.ErrExpired, "expired"}, {wire.ErrFloor, "floor"}, {wire.ErrInvalid, "invalid"}, {release.ErrFull, "disk-full"},
	} {
		if errors.Is(err, r.is) {
			reason = r.name
			break
		}
	}
	o.mu.Lock()
	o.refused[reason]++
	o.mu.Unlock()
	o.a.cfg.Logger.Warn("refused", "reason", reason, "err", err)
	o.a.reports.changed()
}

// poke wakes whoever waits on c, once, however often it is called before that.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
