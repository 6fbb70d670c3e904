package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// ErrUnreachable is wrapped by errors that mean the controller gave no answer.
var ErrUnreachable = errors.New("cannot reach the controller")

// errSilent is one of them: it was there, and said nothing.
var errSilent = errors.New("it has not answered")

const (
	maxAnswer = 256 << 20 // a list of 10,000 agents with their reports has some 40 MiB
	attempts  = 3         // of a GET that got no answer

	// The controller waits 20 s for its bus to take a write, and a stream of events is never
	// silent for longer than keepAlive.
	defaultSilence = 30 * time.Second
)

// ClientConfig configures a [Client].
type ClientConfig struct {
	Server string      // required: "http://host:port" or "https://…"
	Token  string      // sent as a bearer token; empty: none
	TLS    *tls.Config // default: the system's roots
	// Silence is how long the controller may neither send nor take a byte; default 30 s.
	Silence time.Duration
}

// Client calls the API of a controller. It is safe for concurrent use. A refusal is an
// [*Error], no answer is an [ErrUnreachable]. Only reads are retried, and only if the
// connection failed: waiting again for a controller that is silent shows nothing new.
type Client struct {
	server  string
	token   string
	silence time.Duration
	http    *http.Client
}

// NewClient returns a client; it does not connect yet.
func NewClient(c ClientConfig) (*Client, error) {
	u, err := url.Parse(c.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("server %q is not a URL like http://127.0.0.1:7420", c.Server)
	}
	if strings.ContainsAny(c.Token, " \t\r\n") {
		return nil, errors.New("the token holds white space")
	}
	if c.Silence == 0 {
		c.Silence = defaultSilence
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.TLSHandshakeTimeout = c.TLS, c.Silence
	dialer := &net.Dialer{Timeout: c.Silence}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		return &impatient{Conn: conn, silence: c.Silence}, err
	}
	return &Client{
		server:  u.Scheme + "://" + u.Host,
		token:   c.Token,
		silence: c.Silence,
		// A redirect would carry the token somewhere that nobody named.
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// impatient is a connection that fails once its other end has neither sent nor taken a byte
// for a time. A stopped process accepts connections, takes what their buffers hold, and leaves
// answers half sent: a limit for the headers of an answer would see only some of that.
type impatient struct {
	net.Conn
	silence time.Duration
	failed  atomic.Bool
}

func (c *impatient) Read(p []byte) (int, error)  { return c.within(c.Conn.Read, p) }
func (c *impatient) Write(p []byte) (int, error) { return c.within(c.Conn.Write, p) }

func (c *impatient) within(do func([]byte) (int, error), p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(c.silence)) // of one that is closed: do says so
	n, err := do(p)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.failed.Store(true)
	case err != nil && c.failed.Load(): // closed for that, under the other of both
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Server returns the controller's URL.
func (c *Client) Server() string { return c.server }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call sends in (nil: no body) as JSON and decodes the answer into out (nil: none).
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = wire.EncodeJSON(in); err != nil {
			return fmt.Errorf("cannot encode the request: %w", err)
		}
	}
	answer, err := c.exchange(ctx, method, path, "application/json", body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("cannot read the answer of the controller at %s: %w", c.server, err)
	}
	return nil
}

// exchange returns the body of a successful answer.
func (c *Client) exchange(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		answer, err := c.once(ctx, method, path, contentType, body)
		if method != http.MethodGet || attempt == attempts || !errors.Is(err, ErrUnreachable) || errors.Is(err, errSilent) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	req, err := c.request(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("the answer of the controller at %s has more than %d bytes", c.server, maxAnswer)
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// do sends a request and turns everything but success into an error.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(req.Context(), err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var f failureBody
	if json.Unmarshal(data, &f) != nil || f.Error == nil || f.Error.Message == "" {
		return nil, &Error{Status: resp.StatusCode, Code: "unknown",
			Message: fmt.Sprintf("%s answered %s, which is not how a controller answers", c.server, resp.Status)}
	}
	f.Error.Status = resp.StatusCode
	return nil, f.Error
}

// unreachable says in a few words why there was no answer: the layers of net/http
// repeat the URL and the address.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.server, ctx.Err())
	}
	if t := interface{ Timeout() bool }(nil); errors.As(err, &t) && t.Timeout() {
		return fmt.Errorf("%w at %s: %w for %s", ErrUnreachable, c.server, errSilent, c.silence)
	}
	reason := err
	for u := errors.Unwrap(reason); u != nil; u = errors.Unwrap(reason) {
		reason = u
	}
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.server, reason)
}
