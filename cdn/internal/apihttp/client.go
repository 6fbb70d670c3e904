// Package apihttp is the HTTP side that the provider packages share: a client
// that keeps the whole answer, and one reading of status codes. Vendor
// libraries hide the answer in different ways (go-fastly drops Retry-After,
// cloudflare-go drops the errors of a 200 with success:false), so the answer
// is kept below them.
package apihttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds the answer to a purge. The largest expected one is Fastly's map
// of 256 keys to ids, below 300 KiB.
const maxBody = 1 << 20

// Answer is a complete response. Status is 0 until one was read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

type answerKey struct{}

// WithAnswer returns a context whose requests, made by a Client, fill the
// Answer.
func WithAnswer(ctx context.Context) (context.Context, *Answer) {
	answer := &Answer{}
	return context.WithValue(ctx, answerKey{}, answer), answer
}

// Client returns a client with a timeout and without redirects: net/http
// repeats headers such as Fastly-Key to wherever a redirect points.
func Client(timeout time.Duration) *http.Client { return ClientFor(timeout, maxBody) }

// ClientFor is a Client for answers of up to limit bytes.
func ClientFor(timeout time.Duration, limit int64) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	return &http.Client{
		Timeout:       timeout,
		Transport:     keeper{transport, limit},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// keeper reads each response to its end, within limit.
type keeper struct {
	next  http.RoundTripper
	limit int64
}

var errTooLong = errors.New("answer is too long")

func (k keeper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, k.limit+1))
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("answer ended early: %w", err)
	}
	if int64(len(body)) > k.limit {
		return nil, errTooLong
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if answer, ok := req.Context().Value(answerKey{}).(*Answer); ok {
		*answer = Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
	return resp, nil
}

// Endpoint reports an address that calls cannot be made to, or that holds a secret of its
// own. The error does not repeat it.
func Endpoint(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must be an http or https URL without user, query and fragment")
	}
	return nil
}

// Verbatim makes req ask for path as it is written. net/http escapes some characters anew,
// such as |, and another spelling is another object of a cache. With two slashes at its
// beginning a path would be taken for a host: it goes in the absolute form (RFC 9112, 3.2.2).
func Verbatim(req *http.Request, path string) {
	switch {
	case req.URL.EscapedPath() == path:
	case strings.HasPrefix(path, "//"):
		req.URL.Opaque = "//" + req.Host + path
	default:
		req.URL.Opaque = path
	}
}
