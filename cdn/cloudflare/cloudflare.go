// Package cloudflare purges Cloudflare zones with the official client.
//
// What the client (cloudflare-go v7.9.0) would do wrong on its own, and what
// is done about it here:
//
//   - HTTP 200 with success:false returns no error: the answer is decoded here
//     and counts only with success and an id.
//   - It retries twice and sleeps as long as Retry-After says: no retries.
//   - An omitted body is sent as an empty one: every kind builds a body, and a
//     test looks at what arrives.
//   - The zone id goes into the path unescaped: scopes are checked.
//   - Its root package costs over 140 CPU seconds to build and 16 MB in the
//     binary, even for cloudflare.F: only cache and option are imported and
//     the fields are set directly.
package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/cache"
	"github.com/cloudflare/cloudflare-go/v7/option"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Plan of an account; the quotas depend on it.
type Plan string

const (
	Free       Plan = "free"
	Pro        Plan = "pro"
	Business   Plan = "business"
	Enterprise Plan = "enterprise"
)

// Config of one account.
type Config struct {
	Name     string        // default "cloudflare"
	Token    string        // required; permission Cache Purge on the zones
	Plan     Plan          // required
	Endpoint string        // default https://api.cloudflare.com/client/v4/
	Timeout  time.Duration // of one call; default 30 s

	// Variants are the request headers that the cache keys of the zones depend
	// on, in every combination that is cached, for example CF-Device-Type:
	// mobile. A URL is purged as such and in each variant.
	Variants []map[string]string // header → value
	// Environments narrows the purges of a zone to one of its environments.
	Environments map[string]string // zone id → environment id
}

// Purger is one Cloudflare account. A scope is a zone id. Tags are
// case-insensitive at Cloudflare, and there is no soft purge.
type Purger struct {
	name    string
	token   string
	service *cache.CacheService
	caps    cdn.Capabilities
	limiter *cdn.Limiter

	variants     []map[string]string // header → value
	environments map[string]string   // zone id → environment id
}

// capabilities from developers.cloudflare.com, "Purge cache: availability and
// limits". One bucket serves tags, hosts, prefixes and everything. A URL counts
// once for each of its forms, which are the variants and itself.
func capabilities(plan Plan, forms int) (cdn.Capabilities, bool) {
	bucket, files, fileBatch := cdn.Quota{}, cdn.Quota{PerSelector: true}, 100
	switch plan {
	case Free:
		bucket.Burst, bucket.PerSecond = 25, 5.0/60
		files.Burst, files.PerSecond = 800, 800
	case Pro:
		bucket.Burst, bucket.PerSecond = 25, 5
		files.Burst, files.PerSecond = 1500, 1500
	case Business:
		bucket.Burst, bucket.PerSecond = 50, 10
		files.Burst, files.PerSecond = 1500, 1500
	case Enterprise:
		bucket.Burst, bucket.PerSecond = 500, 50
		files.Burst, files.PerSecond, fileBatch = 3000, 3000, 500
	default:
		return cdn.Capabilities{}, false
	}
	files.Burst /= forms
	files.PerSecond /= float64(forms)
	purge := cdn.Limits{Batch: 100, Gap: 2 * time.Second, Bucket: "purge"}
	everything := purge
	everything.Batch = 1
	return cdn.Capabilities{
		Kinds: map[cdn.Kind]cdn.Limits{
			cdn.Key: purge, cdn.Host: purge, cdn.Prefix: purge, cdn.All: everything,
			cdn.URL: {Batch: fileBatch / forms, Gap: 2 * time.Second, Bucket: "files"},
		},
		Buckets:   map[string]cdn.Quota{"purge": bucket, "files": files},
		KeyForbid: ",",
	}, true
}

// New checks the configuration; it does not talk to Cloudflare.
func New(c Config) (*Purger, error) {
	if c.Name == "" {
		c.Name = "cloudflare"
	}
	if c.Endpoint == "" {
		c.Endpoint = "https://api.cloudflare.com/client/v4/"
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if err := apihttp.ValidToken(c.Token); err != nil {
		return nil, fmt.Errorf("cloudflare config: %w", err)
	}
	if err := apihttp.Endpoint(c.Endpoint); err != nil {
		return nil, fmt.Errorf("cloudflare config: endpoint %w", err)
	}
	if c.Timeout < 0 {
		return nil, errors.New("cloudflare config: timeout is negative")
	}
	if err := validVariants(c.Variants); err != nil {
		return nil, fmt.Errorf("cloudflare config: %w", err)
	}
	if err := checkEnvironments(c.Environments); err != nil {
		return nil, fmt.Errorf("cloudflare config: %w", err)
	}
	caps, ok := capabilities(c.Plan, 1+len(c.Variants))
	if !ok {
		return nil, fmt.Errorf("cloudflare config: plan %q must be one of free, pro, business, enterprise", c.Plan)
	}
	return &Purger{
		name: c.Name, token: c.Token, caps: caps, limiter: cdn.NewLimiter(caps),
		variants: slices.Clone(c.Variants), environments: maps.Clone(c.Environments),
		service: cache.NewCacheService(
			option.WithBaseURL(strings.TrimRight(c.Endpoint, "/")+"/"),
			option.WithAPIToken(c.Token),
			option.WithMaxRetries(0),
			option.WithHTTPClient(apihttp.Client(c.Timeout)),
		),
	}, nil
}

func (p *Purger) Name() string { return p.name }

func (p *Purger) Capabilities() cdn.Capabilities { return p.caps }

func (p *Purger) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if err := p.caps.Validate(r); err != nil {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: err.Error(), Err: err}
	}
	if err := p.limiter.Wait(ctx, p.name, r.Selectors[0].Kind, len(r.Selectors)); err != nil {
		return cdn.Receipt{}, err
	}
	ctx, answer := apihttp.WithAnswer(ctx)
	err := p.send(ctx, r.Scope, p.body(r.Selectors))
	call := apihttp.Call{Provider: p.name, Scope: r.Scope, Secrets: []string{p.token}, Answer: answer}
	id, failed := outcome(call, err)
	if failed != nil {
		return cdn.Receipt{}, failed
	}
	ids := map[cdn.Selector]string{}
	for _, s := range r.Selectors {
		ids[s] = id
	}
	return call.Receipt(ids), nil
}

// outcome takes the id from an answer.
func outcome(call apihttp.Call, err error) (id string, failed *cdn.Error) {
	var purge struct {
		ID string `json:"id"`
	}
	if _, failed := call.Cloudflare(err, &purge); failed != nil {
		return "", failed
	}
	if purge.ID == "" {
		return "", call.Failure(nil, apihttp.Said{Message: "the answer has neither success with an id nor an error"})
	}
	return purge.ID, nil
}
