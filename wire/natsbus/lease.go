package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
)

const maxHolder = 255

func (b *controllerBus) Lease(ctx context.Context) (holder string, f wire.Fence, err error) {
	m, err := b.last(ctx, wire.StreamControl, wire.SubjectLease, maxHolder)
	switch {
	case errors.Is(err, wire.ErrNotFound):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("cannot read lease: %w", err)
	}
	if err := checkHolder(string(m.Data)); err != nil {
		return "", 0, fmt.Errorf("cannot read lease: %w", err)
	}
	return string(m.Data), wire.Fence(m.Seq), nil
}

// TakeLease writes the lease; its new sequence is the fence. Nothing else writes it, so
// that the fence holds for the whole term.
func (b *controllerBus) TakeLease(ctx context.Context, holder string, seen wire.Fence) (wire.Fence, error) {
	if err := checkHolder(holder); err != nil {
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	m := nats.NewMsg(wire.SubjectLease)
	m.Data = []byte(holder)
	m.Header.Set(headerExpectSeq, strconv.FormatUint(uint64(seen), 10))
	seq, err := b.publish(ctx, m, wire.StreamControl)
	switch {
	case refusedWith(err, codeWrongSeq):
		return 0, fmt.Errorf("cannot take lease: %w: %w", wire.ErrNoLease, err)
	case err != nil:
		return 0, fmt.Errorf("cannot take lease: %w", err)
	}
	return wire.Fence(seq), nil
}

func (b *controllerBus) Heartbeat(holder string, f wire.Fence) error {
	if err := checkHolder(holder); err != nil {
		return fmt.Errorf("cannot send heartbeat: %w", err)
	}
	return b.announce(wire.SubjectAlive, formatHeartbeat(holder, f))
}

func (b *controllerBus) Heartbeats(f func(holder string, f wire.Fence)) (stop func(), err error) {
	return b.listen(wire.SubjectAlive, maxHolder+32, func(data []byte) {
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
	return holder, wire.Fence(n), checkHolder(holder)
}

func checkHolder(s string) error {
	switch {
	case s == "":
		return errors.New("holder is empty")
	case len(s) > maxHolder:
		return fmt.Errorf("holder is %d bytes long, at most %d are allowed", len(s), maxHolder)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("holder %q is not printable", s)
	}
	return nil
}
