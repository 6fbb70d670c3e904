package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// closeAfter bounds how long Close waits for requests that are under way.
const closeAfter = 5 * time.Second

// Config configures a [Server].
type Config struct {
	Controller Controller   // required
	Tokens     *Tokens      // required
	Log        *slog.Logger // default: slog.Default
}

// Server is the HTTP side of a controller.
type Server struct {
	Config
	http    *http.Server
	closing chan struct{} // closed by Close: ends the event streams
	once    sync.Once     // guards closing
}

// New returns a server that is not listening yet.
func New(c Config) (*Server, error) {
	if c.Controller == nil {
		return nil, errors.New("api: Controller is missing")
	}
	if c.Tokens == nil {
		return nil, errors.New("api: Tokens is missing")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{Config: c, closing: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute, // event streams extend theirs
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Handler returns the handler that Serve uses.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers requests on l, which may be a TLS listener, until [Server.Close]; then
// it returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve the API on %s: %w", l.Addr(), err)
	}
	return nil
}

// Close stops listening, ends the event streams, waits up to 5 seconds for other
// requests that are under way, and then cuts them off.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closing) })
	ctx, cancel := context.WithTimeout(context.Background(), closeAfter)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}
