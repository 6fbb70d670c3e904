package membus

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

type agentBus struct{ *client }

func (a *agentBus) Want(ctx context.Context, r wire.Region) ([]byte, error) { return a.want(ctx, r) }

func (a *agentBus) Blob(ctx context.Context, d wire.Digest) ([]byte, error) { return a.blob(ctx, d) }

func (a *agentBus) Notes(r wire.Region, f func(envelope []byte)) (stop func(), err error) {
	if err := admit.Region(r); err != nil {
		return nil, fmt.Errorf("cannot listen to notes: %w", err)
	}
	return a.listen(wire.NoteSubject(r), f)
}

func (a *agentBus) Beacons(f func(envelope []byte)) (stop func(), err error) {
	return a.listen(wire.SubjectBeacon, f)
}

func (a *agentBus) Report(ctx context.Context, r wire.Region, id wire.AgentID, envelope []byte) error {
	err := admit.Report(r, id, envelope)
	if err == nil {
		err = a.report(ctx, wire.StatusSubject(r, id), envelope)
	}
	if err != nil {
		return fmt.Errorf("cannot report: %w", err)
	}
	return nil
}

func (a *agentBus) report(ctx context.Context, subject string, envelope []byte) error {
	end, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	a.bus.put(subject, envelope)
	a.bus.signal()
	return a.lost()
}

func (c *client) want(ctx context.Context, r wire.Region) ([]byte, error) {
	err := admit.Region(r)
	var data []byte
	if err == nil {
		data, err = c.last(ctx, wire.WantSubject(r))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read want: %w", err)
	}
	return data, nil
}

func (c *client) blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	err := admit.Digest(d)
	var data []byte
	if err == nil {
		data, err = c.last(ctx, wire.BlobSubject(d))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read blob %s: %w", d.Short(), err)
	}
	return data, nil
}

// last returns the last message on subject.
func (c *client) last(ctx context.Context, subject string) ([]byte, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	m, ok := c.bus.stored[subject]
	if !ok {
		return nil, wire.ErrNotFound
	}
	return bytes.Clone(m.data), nil
}
