package membus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

type controllerBus struct{ *client }

func (c *controllerBus) Setup(ctx context.Context, replicas int) error {
	if replicas != 1 && replicas != 3 {
		return fmt.Errorf("cannot make streams: replicas are %d, want 1 or 3", replicas)
	}
	end, err := c.begin(ctx)
	if err != nil {
		return fmt.Errorf("cannot make streams: %w", err)
	}
	end()
	return nil
}

func (c *controllerBus) Lease(ctx context.Context) (holder string, f wire.Fence, err error) {
	end, err := c.begin(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("cannot read lease: %w", err)
	}
	defer end()
	m := c.bus.stored[wire.SubjectLease]
	return string(m.data), wire.Fence(m.seq), nil
}

func (c *controllerBus) TakeLease(ctx context.Context, holder string, seen wire.Fence) (wire.Fence, error) {
	if err := admit.Holder(holder); err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	end, err := c.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	defer end()
	if now := c.bus.stored[wire.SubjectLease].seq; now != uint64(seen) {
		return 0, fmt.Errorf("cannot take lease: %w: it is at %d", wire.ErrNoLease, now)
	}
	f := c.bus.put(wire.SubjectLease, []byte(holder))
	if err := c.lost(); err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	return wire.Fence(f), nil
}

func (c *controllerBus) Heartbeat(holder string, f wire.Fence) error {
	if err := admit.Holder(holder); err != nil {
		return fmt.Errorf("cannot send heartbeat: %w", err)
	}
	return c.send(wire.SubjectAlive, fmt.Appendf(nil, "%d %s", f, holder))
}

func (c *controllerBus) Heartbeats(f func(holder string, f wire.Fence)) (stop func(), err error) {
	return c.listen(wire.SubjectAlive, func(data []byte) {
		number, holder, ok := strings.Cut(string(data), " ")
		if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			f(holder, wire.Fence(n))
		}
	})
}

func (c *controllerBus) PutWant(ctx context.Context, f wire.Fence, r wire.Region, envelope []byte) error {
	err := admit.Region(r)
	if err == nil {
		err = admit.Size(envelope, wire.MaxDesired)
	}
	if err == nil {
		err = c.fenced(ctx, f, func() {
			c.bus.put(wire.WantSubject(r), envelope)
			c.bus.announce(wire.NoteSubject(r), envelope)
		})
	}
	if err != nil {
		return fmt.Errorf("cannot write want of %s: %w", wire.Clip(string(r)), err)
	}
	return nil
}

func (c *controllerBus) PutJournal(ctx context.Context, f wire.Fence, key string, record []byte) error {
	err := admit.Key(key)
	if err == nil {
		err = admit.Size(record, wire.MaxRecord)
	}
	if err == nil {
		err = c.fenced(ctx, f, func() { c.bus.put(wire.JournalSubject(key), record) })
	}
	if err != nil {
		return fmt.Errorf("cannot write journal of %s: %w", wire.Clip(key), err)
	}
	return nil
}

func (c *controllerBus) DeleteJournal(ctx context.Context, f wire.Fence, key string) error {
	err := admit.Key(key)
	if err == nil {
		err = c.fenced(ctx, f, func() { delete(c.bus.stored, wire.JournalSubject(key)) })
	}
	if err != nil {
		return fmt.Errorf("cannot delete journal of %s: %w", wire.Clip(key), err)
	}
	return nil
}

// fenced runs write if the lease is still at f.
func (c *controllerBus) fenced(ctx context.Context, f wire.Fence, write func()) error {
	end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if now := c.bus.stored[wire.SubjectLease].seq; f == 0 || now != uint64(f) {
		return fmt.Errorf("%w: the lease is at %d", wire.ErrFenced, now)
	}
	write()
	return c.lost()
}

func (c *controllerBus) Want(ctx context.Context, r wire.Region) ([]byte, error) {
	return c.want(ctx, r)
}

func (c *controllerBus) Journal(ctx context.Context) (map[string][]byte, error) {
	records, _, err := c.JournalSince(ctx, 0)
	return records, err
}

func (c *controllerBus) JournalSince(ctx context.Context, since uint64) (records map[string][]byte, next uint64, err error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read journal: %w", err)
	}
	defer end()
	records = map[string][]byte{}
	for subject, m := range c.bus.stored {
		if key, ok := strings.CutPrefix(subject, wire.JournalSubject("")); ok && m.seq >= since {
			records[key] = bytes.Clone(m.data)
		}
	}
	return records, c.bus.seq + 1, nil
}

func (c *controllerBus) PutBlob(ctx context.Context, d wire.Digest, data []byte) error {
	err := admit.Digest(d)
	if err == nil {
		err = admit.Size(data, wire.MaxBlob)
	}
	if err == nil {
		err = c.putBlob(ctx, wire.BlobSubject(d), data)
	}
	if err != nil {
		return fmt.Errorf("cannot store blob %s: %w", d.Short(), err)
	}
	return nil
}

func (c *controllerBus) putBlob(ctx context.Context, subject string, data []byte) error {
	end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, ok := c.bus.stored[subject]; !ok {
		c.bus.put(subject, data)
	}
	return c.lost()
}

func (c *controllerBus) HasBlob(ctx context.Context, d wire.Digest) (bool, error) {
	_, err := c.blob(ctx, d)
	if errors.Is(err, wire.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (c *controllerBus) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	return c.blob(ctx, d)
}

func (c *controllerBus) Beacon(envelope []byte) error {
	if err := admit.Size(envelope, wire.MaxBeacon); err != nil {
		return fmt.Errorf("cannot send beacon: %w", err)
	}
	return c.send(wire.SubjectBeacon, envelope)
}

func (c *controllerBus) send(subject string, data []byte) error {
	end, err := c.begin(context.Background())
	if err != nil {
		return fmt.Errorf("cannot send %s: %w", subject, err)
	}
	defer end()
	c.bus.announce(subject, data)
	return nil
}

// Reports passes reports on in the order in which they were stored.
func (c *controllerBus) Reports(ctx context.Context, f func(r wire.Region, a wire.AgentID, envelope []byte, stored time.Time)) error {
	var passed, connection uint64
	for {
		c.bus.mu.Lock()
		changed := c.bus.changed
		var fresh []string
		if c.up() == nil {
			if connection != c.connection { // as a real bus, which forgets where it was
				connection, passed = c.connection, 0
			}
			fresh = c.bus.reportsAfter(passed)
		}
		messages := make([]message, len(fresh))
		for i, subject := range fresh {
			messages[i] = c.bus.stored[subject]
			passed = messages[i].seq
		}
		c.bus.mu.Unlock()
		for i, subject := range fresh {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if r, a, err := wire.ParseStatusSubject(subject); err == nil {
				f(r, a, bytes.Clone(messages[i].data), messages[i].at)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// reportsAfter returns the subjects of the reports stored after seq, oldest first. The
// caller holds mu.
func (b *Bus) reportsAfter(seq uint64) []string {
	var subjects []string
	for subject, m := range b.stored {
		if m.seq > seq && strings.HasPrefix(subject, "eg.status.") {
			subjects = append(subjects, subject)
		}
	}
	slices.SortFunc(subjects, func(x, y string) int { return int(b.stored[x].seq) - int(b.stored[y].seq) })
	return subjects
}
