package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

const maxBlobsInFlight = 16 // more stall a replicated stream

type controllerBus struct {
	*conn
	fenced chan struct{} // one token: fenced writes go one after the other
	blobs  chan struct{} // a token per blob in flight
}

// ConnectController returns the bus of a controller, or an error wrapping
// [wire.ErrDisconnected] if no server answers.
func ConnectController(ctx context.Context, cfg ControllerConfig) (wire.ControllerBus, error) {
	c, err := dial(ctx, cfg, false)
	if err != nil {
		return nil, fmt.Errorf("controller bus: %w", err)
	}
	return &controllerBus{c, make(chan struct{}, 1), make(chan struct{}, maxBlobsInFlight)}, nil
}

// last returns the last message on subject as the leader of the stream keeps it.
func (b *controllerBus) last(ctx context.Context, stream, subject string, limit int) (m stored, err error) {
	body, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return stored{}, err
	}
	err = retry(ctx, readTime, passing, func(ctx context.Context) error {
		answer, err := b.request(ctx, &nats.Msg{Subject: "$JS.API.STREAM.MSG.GET." + stream, Data: body})
		if err != nil {
			return err
		}
		m, err = parseStored(answer.Data, limit)
		return err
	})
	return m, err
}

// subjects returns the subjects of a stream that match filter, from its leader.
func (b *controllerBus) subjects(ctx context.Context, stream, filter string) (names []string, err error) {
	for {
		var page infoPage
		body, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": len(names)})
		if err != nil {
			return nil, err
		}
		err = retry(ctx, readTime, passing, func(ctx context.Context) error {
			answer, err := b.request(ctx, &nats.Msg{Subject: "$JS.API.STREAM.INFO." + stream, Data: body})
			if err != nil {
				return err
			}
			page, err = parseInfo(answer.Data)
			return err
		})
		if err != nil {
			return nil, err
		}
		names = append(names, wire.Keys(page.State.Subjects)...)
		if len(page.State.Subjects) == 0 || len(names) >= page.Total {
			return names, nil
		}
	}
}

func (b *controllerBus) Want(ctx context.Context, r wire.Region) ([]byte, error) {
	if err := admit.Region(r); err != nil {
		return nil, fmt.Errorf("cannot read want: %w", err)
	}
	m, err := b.last(ctx, wire.StreamControl, wire.WantSubject(r), wire.MaxDesired)
	if err != nil {
		return nil, fmt.Errorf("cannot read want of %s: %w", r, err)
	}
	return m.Data, nil
}

func (b *controllerBus) Journal(ctx context.Context) (map[string][]byte, error) {
	subjects, err := b.subjects(ctx, wire.StreamControl, wire.SubjectJournal)
	if err != nil {
		return nil, fmt.Errorf("cannot read journal: %w", err)
	}
	records := make(map[string][]byte, len(subjects))
	for _, subject := range subjects {
		key := strings.TrimPrefix(subject, wire.JournalSubject(""))
		m, err := b.last(ctx, wire.StreamControl, subject, admit.MaxRecord)
		switch {
		case errors.Is(err, wire.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("cannot read journal of %s: %w", clip(key), err)
		case len(m.Data) > 0: // an empty record is a deleted one
			records[key] = m.Data
		}
	}
	return records, nil
}

func (b *controllerBus) HasBlob(ctx context.Context, d wire.Digest) (bool, error) {
	if err := admit.Digest(d); err != nil {
		return false, fmt.Errorf("cannot look for blob: %w", err)
	}
	names, err := b.subjects(ctx, wire.StreamBlob, wire.BlobSubject(d))
	if err != nil {
		return false, fmt.Errorf("cannot look for blob %s: %w", d.Short(), err)
	}
	return len(names) > 0, nil
}

func (b *controllerBus) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	if err := admit.Digest(d); err != nil {
		return nil, fmt.Errorf("cannot read blob: %w", err)
	}
	m, err := b.last(ctx, wire.StreamBlob, wire.BlobSubject(d), wire.MaxBlob)
	if err != nil {
		return nil, fmt.Errorf("cannot read blob %s: %w", d.Short(), err)
	}
	return m.Data, nil
}

func (b *controllerBus) Beacon(envelope []byte) error {
	if err := admit.Size(envelope, wire.MaxBeacon); err != nil {
		return fmt.Errorf("cannot send beacon: %w", err)
	}
	return b.announce(wire.SubjectBeacon, envelope)
}

// announce publishes a message that nobody stores.
func (b *controllerBus) announce(subject string, data []byte) error {
	if b.Linked().Err() != nil {
		return fmt.Errorf("cannot send %s: %w", subject, wire.ErrDisconnected)
	}
	if err := b.nc.Publish(subject, data); err != nil {
		return fmt.Errorf("cannot send %s: %w: %w", subject, wire.ErrDisconnected, err)
	}
	return nil
}
