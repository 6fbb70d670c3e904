package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	keepAlive   = 15 * time.Second // between comments, so that no proxy thinks a stream is dead
	eventWithin = 30 * time.Second // a reader that takes longer for one write is cut off
)

// events streams what happens as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). A stream ends when
// its reader is too slow; the reader resumes with Last-Event-ID.
func (s *Server) events(w http.ResponseWriter, r *request) error {
	after, err := afterID(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	events, err := s.Controller.Events(ctx, after)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx buffers streams otherwise
	conn := http.NewResponseController(w)
	// The server's deadline for reading a request would end the stream when it passes.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	send := func(text string) bool {
		if conn.SetWriteDeadline(time.Now().Add(eventWithin)) != nil {
			return false
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return conn.Flush() == nil
	}
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	ok := send(": events\nretry: 1000\n\n")
	for ok {
		select {
		case e, open := <-events:
			ok = open && send(encodeEvent(e))
		case <-beat.C:
			ok = send(":\n\n")
		case <-s.closing:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// encodeEvent writes an event; JSON holds no raw newline, so the data is one line.
func encodeEvent(e controller.Event) string {
	data, err := wire.EncodeJSON(e)
	if err != nil {
		panic(fmt.Sprintf("event %d cannot be encoded: %v", e.ID, err)) // plain data
	}
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}
