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
	return b.get(ctx, stream, map[string]any{"last_by_subj": subject}, limit)
}

// get returns the message asked for as the leader of the stream keeps it.
func (b *controllerBus) get(ctx context.Context, stream string, which map[string]any, limit int) (m stored, err error) {
	body, err := json.Marshal(which)
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
	records, _, err := b.JournalSince(ctx, 0)
	return records, err
}

func (b *controllerBus) JournalSince(ctx context.Context, since uint64) (records map[string][]byte, next uint64, err error) {
	records, next = make(map[string][]byte), since
	for {
		m, err := b.get(ctx, wire.StreamControl, map[string]any{"seq": next, "next_by_subj": wire.SubjectJournal}, wire.MaxRecord)
		if errors.Is(err, wire.ErrNotFound) {
			return records, next, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("cannot read journal: %w", err)
		}
		key := strings.TrimPrefix(m.Subject, wire.JournalSubject(""))
		if records[key] = m.Data; len(m.Data) == 0 { // an empty record is a deleted one
			delete(records, key)
		}
		next = m.Seq + 1
	}
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
