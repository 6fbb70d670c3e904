package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/agent/tags"
)

// Workers of the old and of the new release accept side by side for about 100 ms, so
// a single good answer proves nothing.
const (
	confirmInARow = 8
	confirmPause  = 20 * time.Millisecond
)

// readback is one way to see which release a data plane serves.
type readback struct {
	url string
	// shows reports how what url answers on a fresh connection differs from r.
	shows func(ctx context.Context, url string, r Release) error
	// giveUp is asked after each wrong answer whether waiting on is pointless; it may be nil.
	giveUp func() error
}

// confirm asks until confirmInARow fresh connections in a row show r, or ctx ends.
func (b readback) confirm(ctx context.Context, r Release) (evidence string, err error) {
	begin := time.Now()
	var last error // the newest that is not the end of ctx: that one says nothing of the data plane
	row, asked := 0, 0
	for {
		err := b.shows(ctx, b.url, r)
		asked++
		if err == nil {
			if row++; row == confirmInARow {
				return fmt.Sprintf("%s shows %s on %d fresh connections in a row, %d asked, after %d ms",
					b.url, r.ID(), row, asked, time.Since(begin).Milliseconds()), nil
			}
			last = fmt.Errorf("%s shows %s on %d fresh connections in a row, want %d", b.url, r.ID(), row, confirmInARow)
		} else {
			row = 0
			if ctx.Err() == nil || last == nil {
				last = err
			}
			if ctx.Err() == nil && b.giveUp != nil {
				if why := b.giveUp(); why != nil {
					return "", fmt.Errorf("%w: %w", err, why)
				}
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", last, ctx.Err())
		case <-time.After(confirmPause):
		}
	}
}

// identityShows reports how the identity at url differs from r, by one fresh connection.
func identityShows(ctx context.Context, url string, r Release) error {
	a, err := get(ctx, url)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s: answered %d, want 200", url, a.status)
	}
	var got tags.Identity // a newer program may say more of itself
	if err := json.Unmarshal(a.body, &got); err != nil {
		return fmt.Errorf("%s: not JSON: %w", url, err)
	}
	if want := r.Identity(); got != want {
		return fmt.Errorf("%s serves %s of %s in %s, generation %s, want %s of %s in %s, generation %s", url,
			quote(got.Release), quote(string(got.App)), quote(string(got.Region)), quote(got.Generation),
			want.Release, want.App, want.Region, want.Generation)
	}
	return showsHeaders(a.header, r)
}

// showsHeaders holds the headers of an answer against r.
func showsHeaders(h http.Header, r Release) error {
	for _, want := range [][2]string{{tags.HeaderRelease, r.ID()}, {tags.HeaderGeneration, r.Generation().String()}} {
		if got := h.Values(want[0]); len(got) != 1 || got[0] != want[1] {
			return fmt.Errorf("header %s is %.200q, want %s", want[0], got, want[1])
		}
	}
	return nil
}

func quote(s string) string { return strconv.Quote(s[:min(len(s), 100)]) }

// withDeadline gives ctx the limit if it has no deadline of its own.
func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

var errClosed = errors.New("the driver is closed")
