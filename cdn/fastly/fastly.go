// Package fastly purges Fastly services with the official client.
//
// What the client (go-fastly v12.1.0) would do wrong on its own, and what is
// done about it here:
//
//   - Purge of a URL keeps one value of a repeated query parameter and sorts
//     the rest, which is another object: the query is put back as given.
//   - PurgeKeys does not enforce 256 keys and joins with spaces, so a key with
//     a space is two keys: both are refused before the call.
//   - PurgeKey turns the key `..` into the bulk endpoint: never used.
//   - There is no timeout: each call has one.
//   - Requests that are not marked parallel share a process-wide mutex that
//     ignores the context. Purges are parallel, and a fence is written without
//     UpdateDictionaryItem, which is not; a resource id in the context keeps a
//     later version from blocking one service behind another.
//   - RateLimitRemaining is written without a lock by Client.Request: no call
//     here takes that way, and the field is never read.
//   - HTTPError lacks Retry-After: it is read from the answer itself.
//   - FASTLY_DEBUG_MODE prints requests to stdout: switched off.
package fastly

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
	"github.com/ebbgate/ebbgate/cdn/internal/fastlyapi"
)

// Config of one account.
type Config struct {
	Name     string        // default "fastly"
	Token    string        // required; scope purge_select, and purge_all for `all`
	Endpoint string        // default https://api.fastly.com
	Timeout  time.Duration // of one call; default 30 s

	Fences map[string]string // service id → id of the dictionary with its fence; absent: it has none
	Spread time.Duration     // until a dictionary item is everywhere; default 30 s
}

// Purger is one Fastly account. A scope is a service id.
type Purger struct {
	name    string
	token   string
	client  *api.Client
	caps    cdn.Capabilities
	limiter *cdn.Limiter

	fences  map[string]string // service id → dictionary id
	spread  time.Duration
	fencing chan struct{} // holds an element while a fence is read and written
}

// Limits from developer.fastly.com: 256 keys a call, header of 16,384 bytes,
// second purge after 2 s (30 s for everything), 1,000 calls an hour from which
// key and URL purges are exempt, no soft purge of everything.
func capabilities() cdn.Capabilities {
	return cdn.Capabilities{
		Kinds: map[cdn.Kind]cdn.Limits{
			cdn.Key: {Batch: 256, Bytes: 16384, Soft: true, Gap: 2 * time.Second},
			cdn.URL: {Batch: 1, Soft: true, Gap: 2 * time.Second},
			cdn.All: {Batch: 1, Gap: 30 * time.Second, Bucket: "calls"},
		},
		Buckets: map[string]cdn.Quota{"calls": {Burst: 1000, PerSecond: 1000.0 / 3600}},
	}
}

// New checks the configuration; it does not talk to Fastly.
func New(c Config) (*Purger, error) {
	if c.Name == "" {
		c.Name = "fastly"
	}
	if c.Endpoint == "" {
		c.Endpoint = api.DefaultEndpoint
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Spread == 0 {
		c.Spread = 30 * time.Second
	}
	if err := apihttp.ValidToken(c.Token); err != nil {
		return nil, fmt.Errorf("fastly config: %w", err)
	}
	for service, dictionary := range c.Fences {
		if service == "" || dictionary == "" {
			return nil, errors.New("fastly config: fences has an empty service or dictionary id")
		}
	}
	if err := apihttp.Endpoint(c.Endpoint); err != nil {
		return nil, fmt.Errorf("fastly config: endpoint %w", err)
	}
	if c.Timeout < 0 || c.Spread < 0 {
		return nil, errors.New("fastly config: timeout or spread is negative")
	}
	client, err := api.NewClientForEndpoint(c.Token, c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("fastly config: %w", err)
	}
	client.HTTPClient = apihttp.Client(c.Timeout)
	client.DebugMode = false
	caps := capabilities()
	if len(c.Fences) > 0 {
		caps.Spread = c.Spread
	}
	return &Purger{
		name: c.Name, token: c.Token, client: client, caps: caps, limiter: cdn.NewLimiter(caps),
		fences: maps.Clone(c.Fences), spread: c.Spread, fencing: make(chan struct{}, 1),
	}, nil
}

func (p *Purger) Name() string { return p.name }

func (p *Purger) Capabilities() cdn.Capabilities { return p.caps }

func (p *Purger) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if err := p.caps.Validate(r); err != nil {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: err.Error(), Err: err}
	}
	kind := r.Selectors[0].Kind
	if err := p.limiter.Wait(ctx, p.name, kind, len(r.Selectors)); err != nil {
		return cdn.Receipt{}, err
	}
	ctx, answer := apihttp.WithAnswer(api.NewContextForResourceID(ctx, r.Scope))
	ids := map[cdn.Selector]string{}
	var err error
	switch kind {
	case cdn.Key:
		ids, err = p.purgeKeys(ctx, r)
	case cdn.URL:
		ids, err = p.purgeURL(ctx, r)
	case cdn.All:
		var purge *api.Purge
		purge, err = p.client.PurgeAll(ctx, &api.PurgeAllInput{ServiceID: r.Scope})
		if err == nil && (purge == nil || api.ToValue(purge.Status) != "ok") {
			err = errors.New("the answer does not say status ok")
		}
		if err == nil {
			ids[r.Selectors[0]] = api.ToValue(purge.PurgeID)
		}
	}
	call := p.calling(r.Scope, answer)
	receipt := call.Receipt(ids)
	if err != nil {
		return receipt, fastlyapi.Failure(call, err)
	}
	return receipt, nil
}

func (p *Purger) purgeKeys(ctx context.Context, r cdn.Request) (map[cdn.Selector]string, error) {
	keys := make([]string, len(r.Selectors))
	for i, s := range r.Selectors {
		keys[i] = s.Value
	}
	purged, err := p.client.PurgeKeys(ctx, &api.PurgeKeysInput{ServiceID: r.Scope, Keys: keys, Soft: r.Soft})
	if err != nil {
		return nil, err
	}
	ids := map[cdn.Selector]string{}
	var missing []string
	for _, s := range r.Selectors {
		if id := purged[s.Value]; id != "" {
			ids[s] = id
		} else {
			missing = append(missing, s.Value)
		}
	}
	if len(missing) > 0 {
		return ids, fmt.Errorf("the answer has no id for %d of %d keys, first %q", len(missing), len(keys), missing[0])
	}
	return ids, nil
}

// purgeURL does not use Client.Purge, which rewrites the query.
func (p *Purger) purgeURL(ctx context.Context, r cdn.Request) (map[cdn.Selector]string, error) {
	s := r.Selectors[0]
	host, path := s.HostPath()
	path, query, _ := strings.Cut(path, "?")
	req, err := p.client.RawRequest(ctx, http.MethodPost, "purge/", api.CreateRequestOptions())
	if err != nil {
		return nil, err
	}
	apihttp.Verbatim(req, req.URL.EscapedPath()+host+path)
	req.URL.RawQuery = query
	if r.Soft {
		req.Header.Set("Fastly-Soft-Purge", "1")
	}
	var purge *api.Purge
	if err := p.send(req, &purge); err != nil {
		return nil, err
	}
	if purge == nil || api.ToValue(purge.Status) != "ok" {
		return nil, errors.New("the answer does not say status ok")
	}
	return map[cdn.Selector]string{s: api.ToValue(purge.PurgeID)}, nil
}

// send decodes the answer to a request that was built with RawRequest.
func (p *Purger) send(req *http.Request, out any) error {
	resp, err := p.client.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return api.NewHTTPError(resp)
	}
	return api.DecodeBodyMap(resp.Body, out)
}

func (p *Purger) failure(scope string, answer *apihttp.Answer, err error) *cdn.Error {
	return fastlyapi.Failure(p.calling(scope, answer), err)
}

func (p *Purger) calling(scope string, answer *apihttp.Answer) apihttp.Call {
	return apihttp.Call{Provider: p.name, Scope: scope, Secrets: []string{p.token}, Answer: answer}
}
