package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// ErrUnreachable is wrapped by errors that mean the controller gave no answer.
var ErrUnreachable = errors.New("cannot reach the controller")

const (
	maxAnswer = 256 << 20 // a list of 10,000 agents with their reports has some 40 MiB
	attempts  = 3         // of a GET that got no answer
)

// ClientConfig configures a [Client].
type ClientConfig struct {
	Server string      // required: "http://host:port" or "https://…"
	Token  string      // sent as a bearer token; empty: none
	TLS    *tls.Config // default: the system's roots
}

// Client calls the API of a controller. It is safe for concurrent use. A refusal is an
// [*Error], no answer is an [ErrUnreachable]. Only reads are retried, and only if there
// was no answer.
type Client struct {
	server string
	token  string
	http   *http.Client
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
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = c.TLS
	t.ResponseHeaderTimeout = time.Minute
	return &Client{
		server: u.Scheme + "://" + u.Host,
		token:  c.Token,
		// A redirect would carry the token somewhere that nobody named.
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
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
		if method != http.MethodGet || attempt == attempts || !errors.Is(err, ErrUnreachable) {
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
	reason := err
	for u := errors.Unwrap(reason); u != nil; u = errors.Unwrap(reason) {
		reason = u
	}
	text := reason.Error()
	if t := interface{ Timeout() bool }(nil); errors.As(err, &t) && t.Timeout() {
		text = "timed out"
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.server, ctx.Err())
	}
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.server, text)
}
