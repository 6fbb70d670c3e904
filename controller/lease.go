package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Times of the lease. The sum of silence and one beat is how long a fleet has no
// leader after one dies; what keeps two leaders apart is the fence, not these.
const (
	leaseBeat    = 2 * time.Second
	leaseSilence = 10 * time.Second
	// leaseAgain is how soon a leader that could not look whether it leads looks again: with
	// the connection back, nobody who asks it for something is refused for long.
	leaseAgain = 200 * time.Millisecond
	// leaseDoubt is for how long a leader that the bus does not answer still takes commands.
	// It is below leaseSilence: who may have been replaced promises nothing any more.
	leaseDoubt = 3 * leaseBeat
)

// lead waits until this controller may lead and takes the lease. It may at once when it
// held the lease before (a restart) or nobody is known to; else after the holder has been
// silent for long enough. Only time in which the bus answered counts as silence: whoever
// is cut off hears nothing of a leader that is well. Meanwhile the journal is copied.
func (c *Controller) lead(ctx context.Context, standby func(holder string)) (wire.Fence, error) {
	bus := c.cfg.Bus
	var heard atomic.Bool // since the last look
	stop, err := bus.Heartbeats(func(string, wire.Fence) { heard.Store(true) })
	if err != nil {
		return 0, fmt.Errorf("cannot listen for the leader: %w", err)
	}
	defer stop()
	every := min(leaseBeat, c.cfg.silence) / 2
	var silent time.Duration
	last, copied, copies := time.Now(), time.Time{}, copier{c: c, more: true}
	led := false // by another controller, since this one waits: a lost lease is first of all for its holder to take again
	for {
		holder, seen, err := c.readLease(ctx)
		now := time.Now()
		beat := heard.Swap(false)
		if silent += min(now.Sub(last), 2*every); err != nil || beat {
			silent = 0
		}
		last = now
		ours := c.mine(holder)
		led = led || beat || holder != "" && !ours
		if err == nil && (ours || holder == "" && !led || silent >= c.cfg.silence) {
			asked := time.Now()
			c.met = bus.Linked()
			fence, err := bus.TakeLease(ctx, c.holder(), seen)
			if err == nil {
				c.confirm(asked)
				return fence, nil
			}
			if !errors.Is(err, wire.ErrNoLease) && ctx.Err() == nil {
				standby("")
			}
		} else if err == nil {
			standby(holder)
			if now.Sub(copied) >= leaseBeat {
				copied = now
				if err = copies.copy(ctx); err != nil && ctx.Err() == nil {
					c.log.Warn("the leader's journal could not be copied", "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(every):
		}
	}
}

// copier copies the leader's journal for a standby.
type copier struct {
	c    *Controller
	link context.Context // over which it has read
	next uint64          // where to go on
	more bool            // manifests are to be kept
}

// copy copies what the leader has published since the last time, and the manifests that go
// with it if there is more, now or from before.
func (p *copier) copy(ctx context.Context) (err error) {
	if link := p.c.cfg.Bus.Linked(); link != p.link {
		p.link, p.next = link, 0 // the bus may have been set back
	}
	some, next, err := p.c.journal.follow(ctx, p.c.cfg.Bus, p.next)
	p.next = next
	if p.more = p.more || some; err != nil || !p.more {
		return err
	}
	err = p.c.keepAll(ctx)
	p.more = err != nil
	return err
}

// holder is what this controller signs the lease with: its id, which is made once, and
// the name by which operators know it, which may change.
func (c *Controller) holder() string { return strings.TrimSpace(c.id + " " + c.cfg.Name) }

// mine reports whether this controller, now or before a restart, signed the lease.
func (c *Controller) mine(holder string) bool {
	id, _, _ := strings.Cut(holder, " ")
	return id == c.id
}

// known returns the name of a holder, or its id if it has none.
func known(holder string) string {
	id, name, _ := strings.Cut(holder, " ")
	return cmp.Or(name, id)
}

// readLease reads the lease. A bus that answers without one has lost its streams, or was
// replaced by an empty one: they are made again.
func (c *Controller) readLease(ctx context.Context) (holder string, f wire.Fence, err error) {
	holder, f, err = c.cfg.Bus.Lease(ctx)
	if err == nil || ctx.Err() != nil || errors.Is(err, wire.ErrDisconnected) {
		return holder, f, err
	}
	c.log.Warn("the bus cannot tell who leads; its streams are set up again", "error", err)
	if err := c.cfg.Bus.Setup(ctx, c.cfg.Replicas); err != nil {
		return "", 0, fmt.Errorf("cannot set up the streams again: %w", err)
	}
	return c.cfg.Bus.Lease(ctx)
}

// beat tells standbys that the leader lives until ctx ends, and returns [ErrDeposed]
// when the lease has moved on.
func (c *Controller) beat(ctx context.Context) error {
	for {
		_ = c.cfg.Bus.Heartbeat(c.holder(), c.journal.lease()) // a lost beat is what the silence allows for
		next := time.After(leaseBeat)
		switch err := c.hold(ctx); {
		case errors.Is(err, ErrDeposed):
			return err
		case err == nil:
			c.wake() // a new connection is looked at with nothing to write, too
		default:
			next = time.After(leaseAgain)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// hold looks whether the lease is ours and notes when the bus said so. It returns
// [ErrDeposed] when another controller has it. One that nobody has any more, or that is
// ours under another number, is taken again: the bus has lost what it had acknowledged, or
// the answer when it was taken before.
func (c *Controller) hold(ctx context.Context) error {
	return c.holdOr(ctx, func(holder string, now wire.Fence) bool { return !c.mine(holder) || now != c.journal.lease() })
}

// holdOr does the same and takes the lease again whenever lost says so.
func (c *Controller) holdOr(ctx context.Context, lost func(holder string, now wire.Fence) bool) error {
	c.holding.Lock()
	defer c.holding.Unlock()
	asked := time.Now()
	holder, now, err := c.readLease(ctx)
	switch {
	case err != nil:
		return err
	case holder != "" && !c.mine(holder):
		back := ""
		if now < c.journal.lease() {
			back = ", or the bus was set back"
		}
		return fmt.Errorf("%w%s: the lease is at %d, held by %s; ours was %d", ErrDeposed, back, now, known(holder), c.journal.lease())
	case lost(holder, now):
		return c.regain(ctx, now)
	}
	c.confirm(asked)
	return nil
}

// Sure refuses with [ErrStandby], as every command is then, while the bus has not said for
// 6 s that the lease is ours: another controller may lead, and what is decided here would
// be lost.
func (c *Controller) Sure() error {
	if confirmed := c.confirmed.Load(); confirmed == nil || time.Since(*confirmed) > leaseDoubt {
		return fmt.Errorf("%w: cannot confirm that this controller still leads: the bus has not answered for %s", ErrStandby, leaseDoubt)
	}
	return nil
}

// doubt says since when the bus has not confirmed that the lease is ours, if commands are refused
// for it: whatever looks silent then may be well, and the bus dead. After that, and after a start,
// it says since when the bus answers, while agents look silent that may not have been able to report
// yet: by themselves they connect again within half a minute, and Lost is as long.
func (c *Controller) doubt(s rollout.State) string {
	confirmed, back := c.confirmed.Load(), c.back.Load()
	switch {
	case confirmed == nil:
	case time.Since(*confirmed) > leaseDoubt:
		return fmt.Sprintf("the bus has not answered since %s: no agent can be heard, and another controller may lead", confirmed.UTC().Format(time.RFC3339))
	case back != nil && time.Since(*back) <= 2*c.cfg.Lost && s.Silent():
		return fmt.Sprintf("the bus answers this controller since %s: who looks silent may not have been able to report yet", back.UTC().Format(time.RFC3339))
	}
	return ""
}

// confirm notes that the bus, asked then, has said that the lease is ours.
func (c *Controller) confirm(asked time.Time) {
	if c.Sure() != nil {
		c.back.Store(&asked) // first: nobody is to see an end of the doubt between the two
	}
	c.confirmed.Store(&asked)
}
