package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// want is the journaled desired document of a region, as signed. It is written in the
// same commit as the decisions behind it, so that the sequence never goes back and a
// restart publishes the very same bytes again.
type want struct {
	Sequence uint64      `json:"sequence"`
	Orders   wire.Digest `json:"orders"` // of the encoded orders: tells whether anything changed
	Envelope []byte      `json:"envelope"`
}

// desire puts a region's desired document into w if the engines of the apps in states
// order something else than what was signed last. It reports whether it did.
func (c *Controller) desire(w *write, region wire.Region, states map[wire.App]rollout.State) (want, bool, error) {
	orders := make(map[wire.App]wire.Order)
	for _, app := range wire.Keys(states) {
		if o := rollout.OrderFor(states[app], region); o.Base != nil || o.Next != nil {
			orders[app] = c.offer(o)
		}
	}
	encoded, err := wire.EncodeJSON(orders)
	if err != nil {
		return want{}, false, err
	}
	last := c.wants[region]
	if wire.DigestOf(encoded) == last.Orders {
		return last, false, nil
	}
	d := wire.Desired{
		Fleet: c.cfg.Trust.Fleet(), Region: region, Sequence: last.Sequence + 1,
		Issued: time.Now().UTC(), Apps: orders,
	}
	payload, err := d.Encode()
	if err != nil {
		return want{}, false, fmt.Errorf("cannot order region %s: %w", region, err)
	}
	envelope, err := wire.Seal(wire.TypeDesired, payload, c.cfg.Key)
	if err != nil {
		return want{}, false, fmt.Errorf("cannot order region %s: %w", region, err)
	}
	if len(envelope) > c.cfg.document {
		return want{}, false, fmt.Errorf("cannot order region %s: %w: %d bytes, at most %d", region, wire.ErrTooLarge, len(envelope), c.cfg.document)
	}
	next := want{d.Sequence, wire.DigestOf(encoded), envelope}
	w.put[wantKey(region)] = next
	return next, true, nil
}

// offer has an order name the packs that the catalogue has of its bundles now: a bundle may
// have been published again since the rollout to it began.
func (c *Controller) offer(o wire.Order) wire.Order {
	newest := func(t wire.Target) wire.Target {
		if b, there := c.bundles[t.Digest]; there {
			t.Packs = []wire.PackRef{{Index: b.Index}}
		}
		return t
	}
	if o.Base != nil {
		base := newest(*o.Base)
		o.Base = &base
	}
	if o.Next != nil {
		next := *o.Next
		next.Target = newest(next.Target)
		o.Next = &next
	}
	return o
}

// crowded returns the regions whose document leaves the names in the order of s less room than
// usual, and how much. A quarter of a document is kept for what has to be ordered whatever other
// apps do: going back.
func (c *Controller) crowded(s rollout.State) map[wire.Region]int {
	var room map[wire.Region]int
	for r, w := range c.wants {
		left := (c.cfg.document*3/4 - len(w.Envelope)) / 4 * 3 // which the envelope holds in base64
		if left >= rollout.MaxNames {
			continue
		}
		left += rollout.SizeOfNames(rollout.OrderFor(s, r))
		if room == nil {
			room = make(map[wire.Region]int)
		}
		room[r] = min(left, rollout.MaxNames)
	}
	return room
}

// full refuses a rollout in regions whose document is nearly full without it: what is left there
// has to do for the way back of the others.
func (c *Controller) full(plan rollout.Plan) error {
	for _, w := range plan.Waves {
		for _, r := range w.Regions {
			if n := len(c.wants[r].Envelope); n > c.cfg.document*7/8 {
				return fmt.Errorf("%w: the orders of all apps in %s take %d of %d bytes: wait until a rollout there has ended", ErrConflict, r, n, c.cfg.document)
			}
		}
	}
	return nil
}

// catchUp makes the next document of a region one above what the bus already holds,
// unless that is ours to the byte: after the loss of our disk the agents would refuse
// anything lower as a replay.
func (c *Controller) catchUp(ctx context.Context, region wire.Region) error {
	envelope, err := c.cfg.Bus.Want(ctx, region)
	if errors.Is(err, wire.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the desired document of %s: %w", region, err)
	}
	d, err := c.cfg.Trust.OpenDesired(envelope, region)
	if err != nil {
		c.log.Warn("the desired document on the bus is not ours; it is replaced", "region", region, "error", err)
		return nil
	}
	if w := c.wants[region]; d.Sequence > w.Sequence || d.Sequence == w.Sequence && !bytes.Equal(envelope, w.Envelope) {
		c.wants[region] = want{Sequence: d.Sequence}
	}
	return nil
}

// beaconEvery is how often agents are told that they hear everything there is.
const beaconEvery = 30 * time.Second

func (c *Controller) beacons(ctx context.Context) error {
	tick := time.NewTicker(beaconEvery)
	defer tick.Stop()
	for {
		if err := c.beacon(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("cannot send a beacon", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Controller) beacon(ctx context.Context) error {
	b, err := inLoop(ctx, c, func() (*wire.Beacon, error) {
		head, err := auditHead(c.db)
		b := &wire.Beacon{
			Fleet: c.cfg.Trust.Fleet(), At: time.Now().UTC(), Root: c.cfg.Trust.Root().Version,
			Heads: make(map[wire.Region]uint64), Audit: head,
		}
		for r, w := range c.wants {
			b.Heads[r] = w.Sequence
		}
		return b, err
	})
	if err != nil {
		return err
	}
	payload, err := b.Encode()
	if err != nil {
		return err
	}
	envelope, err := wire.Seal(wire.TypeBeacon, payload, c.cfg.Key)
	if err != nil {
		return err
	}
	return c.cfg.Bus.Beacon(envelope)
}
