// Package cloudfront invalidates Amazon CloudFront distributions with the
// official SDK.
//
// What the API and its client (service/cloudfront v1.73.0) would do wrong on
// their own, and what is done about it here:
//
//   - A CallerReference that was seen before answers with the old invalidation
//     and does nothing, so one made from the paths alone would purge once and
//     never again. It is made from Request.ID, which another round or epoch
//     changes and a resend does not.
//   - Too many invalidations and a throttled call are HTTP 400: the code in the
//     answer decides, not the status.
//   - The SDK retries on its own and, through its config package, looks for
//     credentials in the environment, in files and at a metadata service: no
//     retries, and nothing but the credentials of the Config.
//   - A path is matched as viewers send it, but characters that RFC 1738 calls
//     unsafe must be escaped, or the whole request is refused.
//
// A distribution has one cache for all its host names: the host of a URL or
// prefix is not sent, and a purge by host is not possible. Tags need a
// CacheTagConfig on the distribution, are case-insensitive, and are missing in
// China.
package cloudfront

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Config of one account.
type Config struct {
	Name        string        // default "cloudfront"
	Credentials Credentials   // required; permission cloudfront:CreateInvalidation on the distributions
	Region      string        // for signing, and the endpoint of China; default "us-east-1"
	Endpoint    string        // default by region, https://cloudfront.amazonaws.com
	Timeout     time.Duration // of one call; default 30 s
}

// Purger is one AWS account. A scope is a distribution id.
type Purger struct {
	name    string
	secrets []string
	client  *api.Client
	caps    cdn.Capabilities

	mu       sync.Mutex
	limiters map[string]*cdn.Limiter // distribution → its quota; guarded by mu
}

// Limits from docs.aws.amazon.com: 3,000 paths and tags and, apart from those,
// 15 wildcards in progress in each distribution, tags of 256 bytes, paths of
// 4,000. An invalidation takes effect within 5 s and is over within 25 s, both
// at the 95th percentile: that is when its share of the quota comes back.
func capabilities() cdn.Capabilities {
	const effect, over = 5 * time.Second, 25.0
	wildcard := cdn.Limits{Batch: 15, Length: 4000, Gap: effect, Bucket: "wildcards"}
	everything := wildcard
	everything.Batch = 1
	return cdn.Capabilities{
		Kinds: map[cdn.Kind]cdn.Limits{
			cdn.Key:    {Batch: 3000, Length: 256, Gap: effect, Bucket: "paths"},
			cdn.URL:    {Batch: 3000, Length: 4000, Gap: effect, Bucket: "paths"},
			cdn.Prefix: wildcard,
			cdn.All:    everything,
		},
		Buckets: map[string]cdn.Quota{
			"paths":     {Burst: 3000, PerSecond: 3000 / over, PerSelector: true, PerScope: true},
			"wildcards": {Burst: 15, PerSecond: 15 / over, PerSelector: true, PerScope: true},
		},
		KeyForbid: ",",
	}
}

// New checks the configuration; it does not talk to AWS.
func New(c Config) (*Purger, error) {
	if c.Name == "" {
		c.Name = "cloudfront"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if err := c.Credentials.validate(); err != nil {
		return nil, fmt.Errorf("cloudfront config: %w", err)
	}
	if c.Timeout < 0 {
		return nil, errors.New("cloudfront config: timeout is negative")
	}
	options := api.Options{
		Region:      c.Region,
		Credentials: c.Credentials,
		Retryer:     aws.NopRetryer{},
		HTTPClient:  apihttp.Client(c.Timeout),
	}
	if c.Endpoint != "" {
		if err := apihttp.Endpoint(c.Endpoint); err != nil {
			return nil, fmt.Errorf("cloudfront config: endpoint %w", err)
		}
		options.BaseEndpoint = &c.Endpoint
	}
	return &Purger{
		name: c.Name, secrets: []string{c.Credentials.SecretAccessKey, c.Credentials.SessionToken},
		client: api.New(options), caps: capabilities(), limiters: map[string]*cdn.Limiter{},
	}, nil
}

func (p *Purger) Name() string { return p.name }

func (p *Purger) Capabilities() cdn.Capabilities { return p.caps }

func (p *Purger) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if err := p.caps.Validate(r); err != nil {
		return cdn.Receipt{}, &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: err.Error(), Err: err}
	}
	if err := p.limiter(r.Scope).Wait(ctx, p.name, r.Selectors[0].Kind, len(r.Selectors)); err != nil {
		return cdn.Receipt{}, err
	}
	items := paths(r.Selectors)
	reference := reference(r, items)
	quantity := int32(len(items))
	ctx, answer := apihttp.WithAnswer(ctx)
	out, err := p.client.CreateInvalidation(ctx, &api.CreateInvalidationInput{
		DistributionId: &r.Scope,
		InvalidationBatch: &types.InvalidationBatch{
			CallerReference: &reference,
			Paths:           &types.Paths{Items: items, Quantity: &quantity},
		},
	})
	if err == nil && (out.Invalidation == nil || aws.ToString(out.Invalidation.Id) == "") {
		err = errors.New("the answer has no invalidation id")
	}
	call := apihttp.Call{Provider: p.name, Scope: r.Scope, Secrets: p.secrets, Answer: answer}
	if err != nil {
		return cdn.Receipt{}, failure(call, err)
	}
	ids := map[cdn.Selector]string{}
	for _, s := range r.Selectors {
		ids[s] = *out.Invalidation.Id
	}
	return call.Receipt(ids), nil
}

// limiter is of one distribution, because that is whose quota it is.
func (p *Purger) limiter(distribution string) *cdn.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limiters[distribution]
	if l == nil {
		l = cdn.NewLimiter(p.caps)
		p.limiters[distribution] = l
	}
	return l
}

// paths are sorted and distinct: two host names may share a path.
func paths(selectors []cdn.Selector) []string {
	items := make([]string, len(selectors))
	for i, s := range selectors {
		items[i] = path(s)
	}
	slices.Sort(items)
	return slices.Compact(items)
}

func path(s cdn.Selector) string {
	switch s.Kind {
	case cdn.Key:
		return "#" + s.Value
	case cdn.URL:
		_, path := s.HostPath()
		return unsafe.Replace(path)
	case cdn.Prefix:
		_, path := s.HostPath()
		return unsafe.Replace(path) + "*"
	case cdn.All:
		return "/*"
	default:
		panic("cloudfront: unknown kind " + string(s.Kind))
	}
}

// unsafe escapes what RFC 1738 calls unsafe and a selector may contain. A
// percent sign is left alone: it is the escape of something already.
var unsafe = strings.NewReplacer("<", "%3C", ">", "%3E", "{", "%7B", "}", "%7D", "|", "%7C",
	"^", "%5E", "~", "%7E", "[", "%5B", "]", "%5D", "`", "%60")

// reference is the same for the same intention and paths. Without an intention
// it is never used twice.
func reference(r cdn.Request, paths []string) string {
	id := r.ID
	if id == "" {
		id = rand.Text()
	}
	sum := sha256.Sum256([]byte(r.Scope + "\n" + id + "\n" + strings.Join(paths, "\n")))
	return hex.EncodeToString(sum[:16])
}
