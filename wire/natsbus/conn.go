package natsbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/feed"
)

// The bounds of one operation.
const (
	attemptTime = 4 * time.Second  // 5,000 agents that ask at once take 2.2 s
	leaderTime  = 2 * time.Second  // one attempt of a controller: a dead leader costs that much
	readTime    = 10 * time.Second // reads and reports, all attempts
	writeTime   = 20 * time.Second // writes of the controller: an election of a stream's leader fits in
	setupTime   = 60 * time.Second // a new cluster first elects the leader that makes streams
	firstPause  = 20 * time.Millisecond
	mostPause   = time.Second
	feedDepth   = 16
)

// conn is a connection that comes back.
type conn struct {
	nc      *nats.Conn
	log     *slog.Logger
	attempt time.Duration // bounds one request

	mu    sync.Mutex // guards feeds, why, link and cut
	feeds map[*feed.Feed]struct{}
	why   string          // there was no connection at the last attempt
	link  context.Context // done while there is no connection; a new one at every (re)connection
	cut   context.CancelFunc
}

// dial connects. With later set a connection that fails now is made later.
func dial(ctx context.Context, cfg Config, later bool) (*conn, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &conn{log: cfg.Logger.With("bus", cfg.Name), attempt: leaderTime, feeds: map[*feed.Feed]struct{}{}}
	if later {
		c.attempt = attemptTime
	}
	c.link, c.cut = context.WithCancel(context.Background())
	c.cut()
	opts := []nats.Option{
		nats.Name("ebbgate " + cfg.Name),
		nats.CustomInboxPrefix(wire.InboxPrefix(cfg.Name)),
		nats.Timeout(attemptTime),
		nats.RetryOnFailedConnect(later),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(cfg.ReconnectWait),
		nats.ReconnectJitter(5*cfg.ReconnectWait, 5*cfg.ReconnectWait),
		// A message kept for later would be sent after its sender was told that it failed.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(*nats.Conn) { c.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { c.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.lost(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.refused(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.log.Warn("refused by the server", "err", err) }),
	}
	if len(cfg.Creds) > 0 {
		opts = append(opts, nats.UserCredentialBytes(cfg.Creds))
	} else {
		opts = append(opts, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.RootCA != "" {
		opts = append(opts, nats.RootCAs(cfg.RootCA), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13}))
	}
	nc, err := nats.Connect(strings.Join(cfg.Servers, ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w: %w", strings.Join(cfg.Servers, ", "), wire.ErrDisconnected, err)
	}
	c.nc = nc
	if nc.IsConnected() {
		c.up()
	}
	return c, nil
}

// connected tells everybody that announcements may have been missed. The client has
// sent its subscriptions again before it calls this.
func (c *conn) connected() {
	c.log.Info("connected")
	c.up()
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.feeds {
		f.Missed()
	}
}

func (c *conn) up() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = ""
	if c.link.Err() != nil {
		c.link, c.cut = context.WithCancel(context.Background())
	}
}

func (c *conn) lost(err error) {
	if err != nil {
		c.log.Warn("connection lost", "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut()
}

// refused logs why an attempt to connect failed, once as long as it stays the same: a
// revoked agent tries for years.
func (c *conn) refused(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != err.Error() {
		c.why = err.Error()
		c.log.Warn("cannot connect, trying on", "err", err)
	}
}

// Linked returns a context that is done once the connection that there is now has ended.
func (c *conn) Linked() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func (c *conn) Close() {
	c.nc.Close()
	c.lost(nil)
}

// listen calls f with every message on subject of at most limit bytes, and with nil at
// every (re)connection. It returns once the server knows, if there is one.
func (c *conn) listen(subject string, limit int, f func([]byte)) (stop func(), err error) {
	d := feed.New(feedDepth, f)
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		if len(m.Data) == 0 || len(m.Data) > limit {
			c.log.Warn("message ignored", "subject", m.Subject, "bytes", len(m.Data), "limit", limit)
			return
		}
		d.Push(m.Data)
	})
	if err != nil {
		d.Stop()
		return nil, fmt.Errorf("cannot listen to %s: %w", subject, err)
	}
	c.mu.Lock()
	c.feeds[d] = struct{}{}
	c.mu.Unlock()
	if c.nc.IsConnected() && c.nc.FlushTimeout(attemptTime) == nil {
		d.Missed()
	}
	return func() {
		_ = sub.Unsubscribe() // fails only when the connection is closed
		c.mu.Lock()
		delete(c.feeds, d)
		c.mu.Unlock()
		d.Stop()
	}, nil
}

// request sends m and returns the answer, within one attempt and one connection.
func (c *conn) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	link := c.Linked()
	if link.Err() != nil {
		return nil, wire.ErrDisconnected
	}
	attempt, cancel := context.WithTimeout(ctx, c.attempt)
	defer cancel()
	defer context.AfterFunc(link, cancel)()
	answer, err := c.nc.RequestMsgWithContext(attempt, m)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case link.Err() != nil, errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return nil, wire.ErrDisconnected
	case attempt.Err() != nil:
		return nil, errNoAnswer
	}
	return nil, err
}

var errNoAnswer = errors.New("no answer in time")

// retry calls try until it succeeds, fails for good as passing says, or most has passed.
func retry(ctx context.Context, most time.Duration, passing func(error) bool, try func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var last error
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := try(limited)
		if err == nil || limited.Err() == nil && !passing(err) {
			return err
		}
		if limited.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", ctx.Err(), last)
		case <-limited.Done():
			return fmt.Errorf("gave up after %v: %w", most, last)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// passing reports whether an error may go away by itself: a server that has just died,
// a stream that elects its leader.
func passing(err error) bool {
	var refused *apiError
	return errors.Is(err, errNoAnswer) ||
		errors.Is(err, wire.ErrDisconnected) ||
		errors.Is(err, nats.ErrNoResponders) ||
		errors.As(err, &refused) && refused.passing()
}
