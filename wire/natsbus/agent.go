package natsbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

type agentBus struct{ *conn }

// ConnectAgent returns the bus of an agent. Without a server it returns all the same
// and connects later; it fails only on a configuration that can never work.
func ConnectAgent(ctx context.Context, cfg AgentConfig) (wire.AgentBus, error) {
	c, err := dial(ctx, cfg, true)
	if err != nil {
		return nil, fmt.Errorf("agent bus: %w", err)
	}
	return &agentBus{c}, nil
}

func (b *agentBus) Want(ctx context.Context, r wire.Region) ([]byte, error) {
	if err := admit.Region(r); err != nil {
		return nil, fmt.Errorf("cannot read want: %w", err)
	}
	data, err := b.get(ctx, wire.DirectGetSubject(wire.StreamControl, wire.WantSubject(r)), wire.MaxDesired)
	if err != nil {
		return nil, fmt.Errorf("cannot read want of %s: %w", r, err)
	}
	return data, nil
}

func (b *agentBus) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	if err := admit.Digest(d); err != nil {
		return nil, fmt.Errorf("cannot read blob: %w", err)
	}
	data, err := b.get(ctx, wire.DirectGetSubject(wire.StreamBlob, wire.BlobSubject(d)), wire.MaxBlob)
	if err != nil {
		return nil, fmt.Errorf("cannot read blob %s: %w", d.Short(), err)
	}
	return data, nil
}

func (b *agentBus) Notes(r wire.Region, f func(envelope []byte)) (stop func(), err error) {
	if err := admit.Region(r); err != nil {
		return nil, fmt.Errorf("cannot listen to notes: %w", err)
	}
	return b.listen(wire.NoteSubject(r), wire.MaxDesired, f)
}

func (b *agentBus) Beacons(f func(envelope []byte)) (stop func(), err error) {
	return b.listen(wire.SubjectBeacon, wire.MaxBeacon, f)
}

func (b *agentBus) Report(ctx context.Context, r wire.Region, a wire.AgentID, envelope []byte) error {
	if err := admit.Report(r, a, envelope); err != nil {
		return fmt.Errorf("cannot report: %w", err)
	}
	m := nats.NewMsg(wire.StatusSubject(r, a))
	m.Data = envelope
	err := retry(ctx, readTime, passingLinked, func(ctx context.Context) error {
		answer, err := b.request(ctx, m)
		if err != nil {
			return err
		}
		_, err = parseAck(answer.Data, wire.StreamStatus)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot report of %s: %w", a, err)
	}
	return nil
}

// get asks for the last message of a subject until somebody answers.
func (b *agentBus) get(ctx context.Context, subject string, limit int) (data []byte, err error) {
	err = retry(ctx, readTime, passingLinked, func(ctx context.Context) error {
		answer, err := b.request(ctx, nats.NewMsg(subject))
		if err != nil {
			return err
		}
		data, err = parseDirect(answer, limit)
		return err
	})
	return data, err
}

// passingLinked is [passing] for an agent, which does not wait for a connection: it
// has better things to do.
func passingLinked(err error) bool {
	return passing(err) && !errors.Is(err, wire.ErrDisconnected)
}
