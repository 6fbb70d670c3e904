package dataplane

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	probeTimeout = 5 * time.Second
	maxBody      = 64 << 10 // of an answer; what is beyond is not read
)

// Probe sends one request to base (http://host:port) on a connection of its own, and
// reports any answer but the expected one. It takes at most five seconds, follows no
// redirect and uses no proxy. It reads the first 64 KiB of the body. header is added to
// the request; it may be nil.
func Probe(ctx context.Context, base string, p wire.Probe, header http.Header) error {
	a, err := request{base + p.Path, p.Host, header}.get(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("probe %s: %w", p.Path, err)
	case a.status != p.Status:
		return fmt.Errorf("probe %s: answered %d, want %d", p.Path, a.status, p.Status)
	case !strings.Contains(string(a.body), p.Body):
		return fmt.Errorf("probe %s: the body does not hold %q", p.Path, p.Body)
	}
	return nil
}

// check sends the probes of r to base.
func check(ctx context.Context, base string, r Release) error {
	for _, p := range r.Probes {
		if err := Probe(ctx, base, p, nil); err != nil {
			return err
		}
	}
	return nil
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks without any headers of its own.
func get(ctx context.Context, url string) (answer, error) {
	return request{url: url}.get(ctx)
}

type request struct {
	url    string
	host   string      // "": that of url
	header http.Header // added; may be nil
}

// get asks on a fresh connection: a kept-alive one may still lead to the worker of an
// older release.
func (r request) get(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(req.Header, r.header)
	req.Host = r.host
	req.Header.Set("User-Agent", "ebbgate-agent")
	t := &http.Transport{
		DialContext:            (&net.Dialer{}).DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
	}
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	return answer{res.StatusCode, res.Header, body}, nil
}
