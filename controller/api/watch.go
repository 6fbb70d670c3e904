package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/controller"
)

const (
	maxEvent  = 4 << 20          // bytes of one line of the stream
	retryMost = 10 * time.Second // between attempts to resume
)

// Watch calls f with each event after the one with id after, from one goroutine, and
// resumes after a lost connection, for ever. It returns when ctx ends, when f returns an
// error, when the first connection fails, or when the controller refuses.
func (c *Client) Watch(ctx context.Context, after uint64, f func(controller.Event) error) error {
	var stop error
	for wait := time.Duration(0); ; {
		connected, err := c.stream(ctx, &after, func(e controller.Event) error {
			stop = f(e)
			return stop
		})
		var refused *Error
		switch {
		case stop != nil:
			return stop
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
			return err
		case err != nil && !errors.Is(err, ErrUnreachable) && refused == nil:
			return err
		case connected:
			wait = 250 * time.Millisecond
		case wait == 0: // never connected yet
			return err
		default:
			wait = min(2*wait, retryMost)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// stream reads one connection. It returns a nil error when the connection ended.
func (c *Client) stream(ctx context.Context, after *uint64, f func(controller.Event) error) (connected bool, err error) {
	req, err := c.request(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if *after > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatUint(*after, 10))
	}
	resp, err := c.do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return true, readEvents(resp.Body, func(e controller.Event) error {
		*after = max(*after, e.ID)
		return f(e)
	})
}

// readEvents reads a stream of server-sent events. Only the data matters: it holds the id as
// well. An end of the stream is no error.
func readEvents(r io.Reader, f func(controller.Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) > 0 {
			if d, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				if data = append(data, bytes.TrimPrefix(d, []byte(" "))...); len(data) > maxEvent {
					return fmt.Errorf("cannot read an event: more than %d bytes", maxEvent)
				}
			}
			continue
		}
		if len(data) == 0 {
			continue
		}
		var e controller.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("cannot read an event: %w", err)
		}
		data = data[:0]
		if err := f(e); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("cannot read an event: %w", lines.Err())
	}
	return nil
}
