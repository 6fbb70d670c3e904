package natsbus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

// tombstoneTTL is how long the server keeps the empty record that replaces a deleted
// one. A purge cannot carry a fence; a write can.
const tombstoneTTL = "1h"

func (b *controllerBus) PutWant(ctx context.Context, f wire.Fence, r wire.Region, envelope []byte) error {
	err := admit.Region(r)
	if err == nil {
		err = admit.Size(envelope, wire.MaxDesired)
	}
	if err == nil {
		err = b.putFenced(ctx, f, nats.NewMsg(wire.WantSubject(r)), envelope)
	}
	if err != nil {
		return fmt.Errorf("cannot write want of %s: %w", clip(string(r)), err)
	}
	return nil
}

func (b *controllerBus) PutJournal(ctx context.Context, f wire.Fence, key string, record []byte) error {
	err := admit.Key(key)
	if err == nil {
		err = admit.Size(record, wire.MaxRecord)
	}
	if err == nil {
		err = b.putFenced(ctx, f, nats.NewMsg(wire.JournalSubject(key)), record)
	}
	if err != nil {
		return fmt.Errorf("cannot write journal of %s: %w", clip(key), err)
	}
	return nil
}

func (b *controllerBus) DeleteJournal(ctx context.Context, f wire.Fence, key string) error {
	err := admit.Key(key)
	if err == nil {
		m := nats.NewMsg(wire.JournalSubject(key))
		m.Header.Set(headerTTL, tombstoneTTL)
		err = b.putFenced(ctx, f, m, nil)
	}
	if err != nil {
		return fmt.Errorf("cannot delete journal of %s: %w", clip(key), err)
	}
	return nil
}

func (b *controllerBus) PutBlob(ctx context.Context, d wire.Digest, data []byte) error {
	if err := admit.Digest(d); err != nil {
		return fmt.Errorf("cannot store blob: %w", err)
	}
	if err := admit.Size(data, wire.MaxBlob); err != nil {
		return fmt.Errorf("cannot store blob %s: %w", d.Short(), err)
	}
	select {
	case b.blobs <- struct{}{}:
		defer func() { <-b.blobs }()
	case <-ctx.Done():
		return fmt.Errorf("cannot store blob %s: %w", d.Short(), ctx.Err())
	}
	m := nats.NewMsg(wire.BlobSubject(d))
	m.Header.Set(headerExpectSeq, "0")
	m.Data = data
	_, err := b.publish(ctx, m, wire.StreamBlob)
	if err != nil && !refusedWith(err, codeWrongSeq) { // refused: it is there already
		return fmt.Errorf("cannot store blob %s: %w", d.Short(), err)
	}
	return nil
}

// putFenced stores m unless the lease has moved on from f.
func (b *controllerBus) putFenced(ctx context.Context, f wire.Fence, m *nats.Msg, data []byte) error {
	if f == 0 {
		return wire.ErrFenced
	}
	select {
	case b.fenced <- struct{}{}:
		defer func() { <-b.fenced }()
	case <-ctx.Done():
		return ctx.Err()
	}
	m.Data = data
	m.Header.Set(headerExpectSeq, strconv.FormatUint(uint64(f), 10))
	m.Header.Set(headerExpectSubj, wire.SubjectLease)
	_, err := b.publish(ctx, m, wire.StreamControl)
	if !refusedWith(err, codeWrongSeq) {
		return err
	}
	// A server that is going down refuses with the same words as one that knows better.
	// Only a lease that is seen to have moved ends a term.
	switch _, now, leaseErr := b.Lease(ctx); {
	case leaseErr != nil:
		return leaseErr
	case now == f:
		if _, err = b.publish(ctx, m, wire.StreamControl); !refusedWith(err, codeWrongSeq) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", wire.ErrFenced, err)
}

// publish stores m and returns its sequence. Every attempt bears the same message id:
// one that arrives late, after a newer write, is dropped by the server.
func (b *controllerBus) publish(ctx context.Context, m *nats.Msg, stream string) (seq uint64, err error) {
	m.Header.Set(nats.MsgIdHdr, nuid.Next())
	err = retry(ctx, writeTime, passing, func(ctx context.Context) error {
		answer, err := b.request(ctx, m)
		if err != nil {
			return err
		}
		seq, err = parseAck(answer.Data, stream)
		return err
	})
	return seq, err
}
