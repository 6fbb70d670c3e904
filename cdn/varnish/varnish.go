// Package varnish purges groups of Varnish instances that run the VCL shipped
// as deploy/varnish/ebbgate.vcl: surrogate keys by vmod xkey, everything else
// by bans that the ban lurker can evaluate, and a generation fence.
//
// Every instance of the group must accept, and must say so in a header of its
// own: Varnish without that VCL pipes an unknown method to the origin, whose
// 200 means nothing.
package varnish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Config of the caches one operator runs.
type Config struct {
	Name    string              // default "varnish"
	Groups  map[string][]string // scope → base URLs of its instances, e.g. http://10.0.0.7:6081; required
	Token   string              // required; the content of the token file the VCL reads
	Timeout time.Duration       // of one call to one instance; default 10 s
	Gap     time.Duration       // before a second purge, at least the longest origin fetch; default 2 s
}

// Purger reaches all instances of a group at once.
type Purger struct {
	name   string
	groups map[string][]string // scope → base URLs
	token  string
	client *http.Client
	caps   cdn.Capabilities
}

var _ cdn.Fencer = (*Purger)(nil)

// New checks the configuration; it does not talk to the instances.
func New(c Config) (*Purger, error) {
	if c.Name == "" {
		c.Name = "varnish"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Gap == 0 {
		c.Gap = 2 * time.Second
	}
	if c.Timeout < 0 || c.Gap < 0 {
		return nil, errors.New("varnish config: timeout or gap is negative")
	}
	if err := apihttp.ValidToken(c.Token); err != nil {
		return nil, fmt.Errorf("varnish config: %w", err)
	}
	groups, err := apihttp.Groups(c.Groups)
	if err != nil {
		return nil, fmt.Errorf("varnish config: %w", err)
	}
	return &Purger{name: c.Name, groups: groups, token: c.Token, client: apihttp.Client(c.Timeout), caps: capabilities(c.Gap)}, nil
}

// capabilities stay below Varnish's default http_req_hdr_len of 8 KiB; a
// prefix is quoted for a regular expression, which at most doubles it.
func capabilities(gap time.Duration) cdn.Capabilities {
	ban := cdn.Limits{Batch: 1, Bytes: 7000, Gap: gap}
	prefix := ban
	prefix.Bytes = 3500
	return cdn.Capabilities{
		Kinds: map[cdn.Kind]cdn.Limits{
			cdn.Key: {Batch: 256, Bytes: 7000, Soft: true, Gap: gap},
			cdn.URL: ban, cdn.Host: ban, cdn.All: ban,
			cdn.Prefix: prefix,
		},
		KeyForbid: ",",
	}
}

func (p *Purger) Name() string { return p.name }

func (p *Purger) Capabilities() cdn.Capabilities { return p.caps }

func (p *Purger) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	if err := p.caps.Validate(r); err != nil {
		return cdn.Receipt{}, p.refused(err)
	}
	if err := p.everywhere(ctx, r.Scope, "PURGE", header(r)); err != nil {
		return cdn.Receipt{}, err
	}
	ids := map[cdn.Selector]string{}
	for _, s := range r.Selectors {
		ids[s] = ""
	}
	return cdn.Receipt{IDs: ids, AcceptedAt: time.Now()}, nil
}

// Fence makes every instance of the group refuse to store responses whose
// X-Ebbgate-Gen names this region with a lower epoch. The fence is lost with
// the cache itself, when varnishd restarts.
func (p *Purger) Fence(ctx context.Context, scope, region string, epoch uint64) error {
	if err := cdn.ValidateFence(scope, region, epoch); err != nil {
		return p.refused(err)
	}
	return p.everywhere(ctx, scope, "FENCE", http.Header{
		"Ebbgate-Region": {region},
		"Ebbgate-Epoch":  {strconv.FormatUint(epoch, 10)},
	})
}

func (p *Purger) refused(err error) *cdn.Error {
	return &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: err.Error(), Err: err}
}

// header says in the terms of the VCL what to purge. Selectors contain neither
// spaces nor quotes, so a value is one token of a ban expression.
func header(r cdn.Request) http.Header {
	s := r.Selectors[0]
	switch s.Kind {
	case cdn.Key:
		keys := make([]string, len(r.Selectors))
		for i, s := range r.Selectors {
			keys[i] = s.Value
		}
		name := "Xkey-Purge"
		if r.Soft {
			name = "Xkey-Softpurge"
		}
		return http.Header{name: {strings.Join(keys, " ")}}
	case cdn.URL:
		host, path := s.HostPath()
		return http.Header{"Ebbgate-Ban-Host": {host}, "Ebbgate-Ban-Url": {path}}
	case cdn.Prefix:
		host, path := s.HostPath()
		return http.Header{"Ebbgate-Ban-Host": {host}, "Ebbgate-Ban-Prefix": {"^" + regexp.QuoteMeta(path)}}
	case cdn.Host:
		return http.Header{"Ebbgate-Ban-Host": {s.Value}}
	case cdn.All:
		return http.Header{"Ebbgate-Ban-All": {"1"}}
	default:
		panic("varnish: unknown kind " + string(s.Kind))
	}
}

func (p *Purger) everywhere(ctx context.Context, scope, method string, h http.Header) error {
	instances, ok := p.groups[scope]
	if !ok {
		return &cdn.Error{Provider: p.name, Class: cdn.NotFound, Message: fmt.Sprintf("scope %.80q is no group of the configuration", scope)}
	}
	return apihttp.Everywhere(scope, instances, func(base string) *cdn.Error {
		ctx, answer := apihttp.WithAnswer(ctx)
		call := apihttp.Call{Provider: p.name, Scope: scope, Instance: base, Secrets: []string{p.token}, Answer: answer}
		return p.call(ctx, call, request{base, method, h})
	})
}

type request struct {
	base   string // URL of the instance
	method string
	header http.Header
}

func (p *Purger) call(ctx context.Context, call apihttp.Call, r request) *cdn.Error {
	req, err := http.NewRequestWithContext(ctx, r.method, r.base, nil)
	if err != nil {
		return p.refused(err)
	}
	req.Header = r.header.Clone()
	req.Header.Set("Ebbgate-Token", p.token)
	resp, err := p.client.Do(req)
	if err != nil {
		return call.Failure(err, apihttp.Said{})
	}
	resp.Body.Close()
	accepted := resp.Header.Get("Ebbgate-Accepted") != ""
	switch {
	case accepted && resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed:
		return call.Failure(nil, apihttp.Said{Class: cdn.Refused, Message: r.base + " answered without Ebbgate-Accepted, is ebbgate.vcl loaded?"})
	}
	_, reason, _ := strings.Cut(resp.Status, " ")
	return call.Failure(nil, apihttp.Said{Message: r.base + ": " + reason})
}
