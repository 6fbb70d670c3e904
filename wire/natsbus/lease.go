package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

func (b *controllerBus) Lease(ctx context.Context) (holder string, f wire.Fence, err error) {
	m, err := b.last(ctx, wire.StreamControl, wire.SubjectLease, admit.MaxHolder)
	switch {
	case errors.Is(err, wire.ErrNotFound):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("cannot read lease: %w", err)
	}
	if err := admit.Holder(string(m.Data)); err != nil {
		return "", 0, fmt.Errorf("cannot read lease: %w", err)
	}
	return string(m.Data), wire.Fence(m.Seq), nil
}

// TakeLease writes the lease; its new sequence is the fence. Nothing else writes it, so
// that the fence holds for the whole term.
func (b *controllerBus) TakeLease(ctx context.Context, holder string, seen wire.Fence) (wire.Fence, error) {
	if err := admit.Holder(holder); err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	m := nats.NewMsg(wire.SubjectLease)
	m.Data = []byte(holder)
	m.Header.Set(headerExpectSeq, strconv.FormatUint(uint64(seen), 10))
	seq, err := b.publish(ctx, m, wire.StreamControl)
	if refusedWith(err, codeWrongSeq) {
		return b.taken(ctx, m.Header.Get(nats.MsgIdHdr), err)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	return wire.Fence(seq), nil
}

// taken says whether the lease was refused because an attempt whose answer was lost had
// taken it: a server checks the expected sequence before it looks for duplicates.
func (b *controllerBus) taken(ctx context.Context, id string, refused error) (wire.Fence, error) {
	m, err := b.last(ctx, wire.StreamControl, wire.SubjectLease, admit.MaxHolder)
	if err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	if m.header(nats.MsgIdHdr) != id {
		return 0, fmt.Errorf("cannot take lease: %w: %w", wire.ErrNoLease, refused)
	}
	return wire.Fence(m.Seq), nil
}

func (b *controllerBus) Heartbeat(holder string, f wire.Fence) error {
	if err := admit.Holder(holder); err != nil {
		return fmt.Errorf("cannot send heartbeat: %w", err)
	}
	return b.announce(wire.SubjectAlive, formatHeartbeat(holder, f))
}

func (b *controllerBus) Heartbeats(f func(holder string, f wire.Fence)) (stop func(), err error) {
	return b.listen(wire.SubjectAlive, admit.MaxHolder+32, func(data []byte) {
		if data == nil { // a reconnection: the next heartbeat says all
			return
		}
		holder, fence, err := parseHeartbeat(data)
		if err != nil {
			b.log.Warn("heartbeat ignored", "err", err)
			return
		}
		f(holder, fence)
	})
}

// formatHeartbeat writes "<fence> <holder>".
func formatHeartbeat(holder string, f wire.Fence) []byte {
	return append(strconv.AppendUint(nil, uint64(f), 10), " "+holder...)
}

func parseHeartbeat(data []byte) (holder string, f wire.Fence, err error) {
	number, holder, _ := strings.Cut(string(data), " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("fence %q is not a number", clip(number))
	}
	return holder, wire.Fence(n), admit.Holder(holder)
}
