// Package httppurge purges caches that take a request as the purge of its own
// URL: nginx with cache_purge, Apache Traffic Server, Squid, Souin and the
// like, in groups of instances that must all accept.
//
// What such caches do, and what is done about it here:
//
//   - They are told apart by configuration only: the method, the statuses that
//     mean yes, and headers for keys and the token are options.
//   - 404 mostly means that the object was not cached, and counts as accepted.
//     It may also mean that nothing there purges: a wrong address, or a server
//     that hands the request on to its origin. Take it out of Accept where the
//     cache answers 200 either way, and verify with a probe in any case.
//   - Only the URL that is asked for is purged: variants of it (Vary, another
//     scheme in the cache key) are objects of their own.
//   - nginx with cache_purge 2.3 wants a location of its own for purges; put its
//     path into the address of the instances, and set the method to GET:
//     http://10.0.0.7:8080/purge then purges /a with GET /purge/a. The other
//     form, `PURGE from`, crashed workers when it was measured.
package httppurge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Config of the caches one operator runs.
type Config struct {
	Name   string              // default "http"
	Groups map[string][]string // scope → base URLs of its instances; the path of a base URL comes before that of a purged URL; required

	Method string // default PURGE; see CheckMethod
	Accept []int  // statuses that mean purged; default 200, 204 and 404

	KeyHeader    string // carries keys, for example Surrogate-Key; empty: purging by key is not possible
	KeySeparator string // a space or a comma; empty: one key per request
	KeyPath      string // path that is asked for to purge keys; default "/"
	AllPath      string // path that is asked for to purge everything; empty: that is not possible

	Token       string // content of a token file; empty: the caches trust the address
	TokenHeader string // default Authorization, which carries "Bearer <token>"; another one carries the token alone

	Timeout time.Duration // of one call to one instance; default 10 s
	Gap     time.Duration // before a second purge, at least the longest origin fetch; default 2 s
}

// Purger reaches all instances of a group at once.
type Purger struct {
	config Config
	client *http.Client
	caps   cdn.Capabilities
}

// New checks the configuration; it does not talk to the instances.
func New(c Config) (*Purger, error) {
	if c.Name == "" {
		c.Name = "http"
	}
	if c.Method == "" {
		c.Method = "PURGE"
	}
	if c.Accept == nil {
		c.Accept = []int{http.StatusOK, http.StatusNoContent, http.StatusNotFound}
	}
	if c.KeyPath == "" {
		c.KeyPath = "/"
	}
	if c.TokenHeader == "" {
		c.TokenHeader = "Authorization"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Gap == 0 {
		c.Gap = 2 * time.Second
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("httppurge config: %w", err)
	}
	groups, err := apihttp.Groups(c.Groups)
	if err != nil {
		return nil, fmt.Errorf("httppurge config: %w", err)
	}
	c.Groups, c.Accept = groups, slices.Clone(c.Accept)
	return &Purger{config: c, client: apihttp.Client(c.Timeout), caps: capabilities(c)}, nil
}

func (c Config) validate() error {
	if err := CheckMethod(c.Method, c.Groups); err != nil {
		return fmt.Errorf("method %w", err)
	}
	for _, status := range c.Accept {
		if status < 200 || status > 499 || status/100 == 3 {
			return fmt.Errorf("accept has the status %d, only 2xx and 4xx can mean purged", status)
		}
	}
	for _, f := range [][2]string{{"key_header", c.KeyHeader}, {"token_header", c.TokenHeader}} {
		if f[1] != "" && !token(f[1]) {
			return fmt.Errorf("%s %.80q is not the name of a header", f[0], f[1])
		}
		if slices.Contains(unsent, http.CanonicalHeaderKey(f[1])) {
			return fmt.Errorf("%s %.80q belongs to HTTP itself: what it carries would not be sent", f[0], f[1])
		}
	}
	if c.KeySeparator != "" && c.KeySeparator != " " && c.KeySeparator != "," {
		return fmt.Errorf("key_separator %.80q must be a space or a comma", c.KeySeparator)
	}
	for _, f := range [][2]string{{"key_path", c.KeyPath}, {"all_path", c.AllPath}} {
		if u, err := url.Parse(f[1]); f[1] != "" && (err != nil || u.Host != "" || u.Fragment != "" || !strings.HasPrefix(f[1], "/")) {
			return fmt.Errorf("%s %.80q must be a path that begins with /", f[0], f[1])
		}
	}
	if c.Token != "" {
		if err := apihttp.ValidToken(c.Token); err != nil {
			return err
		}
	}
	if c.Timeout < 0 || c.Gap < 0 {
		return errors.New("timeout or gap is negative")
	}
	return nil
}

// unsent are headers that net/http writes itself, whatever a request has under their names.
var unsent = []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Te", "Upgrade", "Keep-Alive", "Proxy-Connection"}

// CheckMethod refuses a method that purges nothing: one that is safe (RFC 9110, 9.2.1) asks a
// cache for its content, and 200 would be taken for a purge. GET purges where every instance of
// the groups has a path that is for purges alone. [New] refuses the same.
func CheckMethod(method string, groups map[string][]string) error {
	switch strings.ToUpper(method) {
	case http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return fmt.Errorf("%q purges nothing", method)
	case http.MethodGet:
		for _, scope := range slices.Sorted(maps.Keys(groups)) {
			for i, base := range groups[scope] {
				if u, err := url.Parse(base); err == nil && strings.Trim(u.Path, "/") == "" {
					return fmt.Errorf("%q only reads: groups.%s[%d] has no path that is for purges alone", method, scope, i)
				}
			}
		}
	}
	if !token(method) {
		return fmt.Errorf("%.80q is not an HTTP method", method)
	}
	return nil
}

// token is one of RFC 9110: letters, digits and a few signs.
func token(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// capabilities stay below the 8 KiB that most servers allow for a header.
func capabilities(c Config) cdn.Capabilities {
	caps := cdn.Capabilities{
		Kinds:     map[cdn.Kind]cdn.Limits{cdn.URL: {Batch: 1, Length: 7000, Gap: c.Gap}},
		KeyForbid: ",",
	}
	if c.KeyHeader != "" {
		keys := cdn.Limits{Batch: 1, Bytes: 7000, Gap: c.Gap}
		if c.KeySeparator != "" {
			keys.Batch = 256
		}
		caps.Kinds[cdn.Key] = keys
	}
	if c.AllPath != "" {
		caps.Kinds[cdn.All] = cdn.Limits{Batch: 1, Gap: c.Gap}
	}
	return caps
}

func (p *Purger) Name() string { return p.config.Name }

func (p *Purger) Capabilities() cdn.Capabilities { return p.caps }

func (p *Purger) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if err := p.caps.Validate(r); err != nil {
		return cdn.Receipt{}, p.refused(err)
	}
	instances, ok := p.config.Groups[r.Scope]
	if !ok {
		return cdn.Receipt{}, &cdn.Error{Provider: p.config.Name, Class: cdn.NotFound, Message: fmt.Sprintf("scope %.80q is no group of the configuration", r.Scope)}
	}
	err := apihttp.Everywhere(r.Scope, instances, func(base string) *cdn.Error {
		ctx, answer := apihttp.WithAnswer(ctx)
		call := apihttp.Call{Provider: p.config.Name, Scope: r.Scope, Instance: base, Secrets: []string{p.config.Token}, Answer: answer}
		req, err := p.request(ctx, base, r.Selectors)
		if err != nil {
			return p.refused(err)
		}
		return p.call(call, base, req)
	})
	if err != nil {
		return cdn.Receipt{}, err
	}
	ids := map[cdn.Selector]string{}
	for _, s := range r.Selectors {
		ids[s] = ""
	}
	return cdn.Receipt{IDs: ids, AcceptedAt: time.Now()}, nil
}

// request puts what is asked for after the path of the instance, byte by byte
// as it was written: an escape may be part of the cache key.
func (p *Purger) request(ctx context.Context, base string, selectors []cdn.Selector) (*http.Request, error) {
	s := selectors[0]
	path, host, header := "", "", http.Header{}
	switch s.Kind {
	case cdn.URL:
		host, path = s.HostPath()
	case cdn.Key:
		path = p.config.KeyPath
		keys := make([]string, len(selectors))
		for i, s := range selectors {
			keys[i] = s.Value
		}
		header.Set(p.config.KeyHeader, strings.Join(keys, p.config.KeySeparator))
	case cdn.All:
		path = p.config.AllPath
	default:
		panic("httppurge: unknown kind " + string(s.Kind))
	}
	full := strings.TrimRight(base, "/") + path
	req, err := http.NewRequestWithContext(ctx, p.config.Method, full, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	if host != "" {
		req.Host = host
	}
	_, full, _ = strings.Cut(full, "://")
	path, _, _ = strings.Cut(full[strings.Index(full, "/"):], "?")
	apihttp.Verbatim(req, path)
	if p.config.Token != "" {
		value := p.config.Token
		if textproto.CanonicalMIMEHeaderKey(p.config.TokenHeader) == "Authorization" {
			value = "Bearer " + value
		}
		req.Header.Set(p.config.TokenHeader, value)
	}
	return req, nil
}

func (p *Purger) call(call apihttp.Call, base string, req *http.Request) *cdn.Error {
	resp, err := p.client.Do(req)
	if err != nil {
		return call.Failure(err, apihttp.Said{})
	}
	resp.Body.Close()
	if slices.Contains(p.config.Accept, resp.StatusCode) {
		return nil
	}
	said := apihttp.Said{Message: base + " answered " + resp.Status + " to " + p.config.Method}
	switch {
	case resp.StatusCode/100 == 2:
		said.Class = cdn.Refused // an answer, but not one that means purged
	case resp.StatusCode == http.StatusNotFound:
		said.Class = cdn.Refused // the instance is known, its answer is not wanted
	}
	return call.Failure(nil, said)
}

func (p *Purger) refused(err error) *cdn.Error {
	return &cdn.Error{Provider: p.config.Name, Class: cdn.Refused, Message: err.Error(), Err: err}
}
