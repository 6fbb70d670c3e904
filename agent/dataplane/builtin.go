package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/ebbgate/ebbgate/agent/tags"
)

const (
	builtinConnections = 4096
	closeTimeout       = 5 * time.Second
)

// builtin serves a release's site/ directory (the whole of it if there is none) from
// inside the agent. A switch is one assignment between two requests.
type builtin struct {
	cfg    Config
	url    string
	server *http.Server
	served chan struct{} // closed when the server's loop has ended

	mu     sync.Mutex // guards what follows; held for assignments only
	live   *snapshot  // nil until the first activation
	armed  *snapshot  // nil when nothing is
	closed bool
}

func newBuiltin(cfg Config) (*builtin, error) {
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("dataplane of %s: %w", cfg.App, err)
	}
	b := &builtin{cfg: cfg, url: cfg.URL, served: make(chan struct{})}
	if b.url == "" {
		b.url = baseURL(ln.Addr().String())
	}
	b.server = &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	go func() {
		defer close(b.served)
		if err := b.server.Serve(netutil.LimitListener(ln, builtinConnections)); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("builtin server ended", "app", cfg.App, "err", err)
		}
	}()
	return b, nil
}

func (b *builtin) Traits() Traits {
	return Traits{Name: string(KindBuiltin), DropFree: true, Arms: true, URL: b.url}
}

// Validate reads builtin.json and every file that would be served.
func (b *builtin) Validate(ctx context.Context, r Release) error {
	if err := b.cfg.checkHooks(r); err != nil {
		return err
	}
	s, err := newSnapshot(ctx, r)
	if err != nil {
		return err
	}
	s.done()
	return nil
}

func (b *builtin) Arm(ctx context.Context, r Release) error {
	s, err := newSnapshot(ctx, r)
	if err != nil {
		return err
	}
	b.mu.Lock()
	old := b.armed
	if b.closed {
		old = s
	} else {
		b.armed = s
	}
	closed := b.closed
	b.mu.Unlock()
	if old != nil {
		old.done()
	}
	if closed {
		return errClosed
	}
	return nil
}

// Activate holds no lock while it reads a release that is not armed: a revert must not
// wait for a large release that is being armed.
func (b *builtin) Activate(ctx context.Context, r Release) error {
	if err := b.cfg.checkHooks(r); err != nil {
		return err
	}
	s := b.takeArmed(r)
	if s == nil {
		var err error
		if s, err = newSnapshot(ctx, r); err != nil {
			return err
		}
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		s.done()
		return errClosed
	}
	old := b.live
	b.live = s
	b.mu.Unlock()
	if old != nil {
		old.done()
	}
	return b.cfg.runHooks(ctx, r)
}

// takeArmed returns the snapshot that was armed if it is of r, else nil.
func (b *builtin) takeArmed(r Release) *snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.armed
	if s == nil || s.release.ID() != r.ID() || s.release.Dir != r.Dir {
		return nil
	}
	b.armed = nil
	return s
}

func (b *builtin) Confirm(ctx context.Context, r Release) (string, error) {
	ctx, cancel := withDeadline(ctx, b.cfg.Timeout.Std())
	defer cancel()
	// The switch is behind us: a wrong answer does not become right by waiting.
	return readback{b.url + tags.IdentityPath, identityShows, func() error { return errors.New("nothing is on its way") }}.confirm(ctx, r)
}

func (b *builtin) Check(ctx context.Context, r Release) error { return check(ctx, b.url, r) }

// ServeHTTP hands the request to the live release.
func (b *builtin) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b.mu.Lock()
	s := b.live
	if s != nil {
		s.users.Add(1)
	}
	b.mu.Unlock()
	if s == nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "no release is active", http.StatusServiceUnavailable)
		return
	}
	defer s.done()
	s.ServeHTTP(w, req)
}

func (b *builtin) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := b.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("builtin: requests were cut off: %w", err), b.server.Close())
	}
	<-b.served
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range []*snapshot{b.live, b.armed} {
		if s != nil {
			s.done()
		}
	}
	b.live, b.armed = nil, nil
	return err
}
