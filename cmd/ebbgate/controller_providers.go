package main

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cloudflare"
	"github.com/ebbgate/ebbgate/cdn/cloudfront"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/cdn/httppurge"
	"github.com/ebbgate/ebbgate/cdn/varnish"
	"github.com/ebbgate/ebbgate/wire"
)

// providerConfig is one account at one provider. Which fields a kind needs, and which it may
// have, is in [providerKinds].
type providerConfig struct {
	Kind      string              `yaml:"kind"`       // fastly, cloudflare, cloudfront, varnish or http
	TokenFile string              `yaml:"token_file"` // never the token itself; of cloudfront, a credentials file of the AWS CLI
	Endpoint  string              `yaml:"endpoint"`   // default: the provider's own
	Groups    map[string][]string `yaml:"groups"`     // varnish, http: scope → base URLs of its instances
	Gap       wire.Duration       `yaml:"gap"`        // varnish, http: before the second purge, at least the longest origin fetch

	Plan         string              `yaml:"plan"`         // cloudflare: free, pro, business or enterprise
	Variants     []map[string]string `yaml:"variants"`     // cloudflare: request headers that make cached forms of a URL
	Environments map[string]string   `yaml:"environments"` // cloudflare: zone id → environment id
	Fences       map[string]string   `yaml:"fences"`       // fastly: service id → id of the dictionary that holds its fence
	AWSRegion    string              `yaml:"aws_region"`   // cloudfront: default us-east-1
	HTTP         *httpPurgeConfig    `yaml:"http"`         // http
}

// httpPurgeConfig says how a cache of any kind takes a purge.
type httpPurgeConfig struct {
	Method       string `yaml:"method"`        // default PURGE; not GET, unless the instances have a path for purges alone
	Accept       []int  `yaml:"accept"`        // statuses that mean purged; default 200, 204, 404
	KeyHeader    string `yaml:"key_header"`    // carries surrogate keys; default: no purge by key
	KeySeparator string `yaml:"key_separator"` // a space or a comma; default: one key a request
	KeyPath      string `yaml:"key_path"`      // default /
	AllPath      string `yaml:"all_path"`      // default: everything cannot be purged
	TokenHeader  string `yaml:"token_header"`  // default Authorization, as a bearer token
}

// purgers makes the clients of every provider, in order of name.
func (cfg *controllerConfig) purgers() ([]cdn.Purger, error) {
	var all []cdn.Purger
	for _, name := range wire.Keys(cfg.Providers) {
		p, err := cfg.purger(name, cfg.Providers[name])
		if err != nil {
			return nil, within("providers."+name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (cfg *controllerConfig) purger(name string, p providerConfig) (cdn.Purger, error) {
	token := ""
	if p.TokenFile != "" {
		var err error
		if token, err = cfg.secret(p.TokenFile); err != nil {
			return nil, err
		}
	}
	return providerKinds[p.Kind].open(name, token, p)
}

// providerKinds are the fields of providerConfig that each kind needs and those that it may
// have, and how an account of it is opened.
var providerKinds = map[string]struct {
	needs []string
	takes []string
	open  func(name, token string, p providerConfig) (cdn.Purger, error)
}{
	"fastly": {[]string{"token_file"}, []string{"endpoint", "fences"}, func(name, token string, p providerConfig) (cdn.Purger, error) {
		return fastly.New(fastly.Config{Name: name, Token: token, Endpoint: p.Endpoint, Fences: p.Fences})
	}},
	"cloudflare": {[]string{"token_file", "plan"}, []string{"endpoint", "variants", "environments"}, func(name, token string, p providerConfig) (cdn.Purger, error) {
		return cloudflare.New(cloudflare.Config{
			Name: name, Token: token, Endpoint: p.Endpoint, Plan: cloudflare.Plan(p.Plan),
			Variants: p.Variants, Environments: p.Environments,
		})
	}},
	"cloudfront": {[]string{"token_file"}, []string{"endpoint", "aws_region"}, func(name, token string, p providerConfig) (cdn.Purger, error) {
		credentials, err := cloudfront.ParseCredentials(token)
		if err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
		return cloudfront.New(cloudfront.Config{Name: name, Credentials: credentials, Region: p.AWSRegion, Endpoint: p.Endpoint})
	}},
	"varnish": {[]string{"token_file", "groups"}, []string{"gap"}, func(name, token string, p providerConfig) (cdn.Purger, error) {
		return varnish.New(varnish.Config{Name: name, Token: token, Groups: p.Groups, Gap: time.Duration(p.Gap)})
	}},
	// Caches of one's own may trust the address instead of a token.
	"http": {[]string{"groups"}, []string{"token_file", "gap", "http"}, func(name, token string, p providerConfig) (cdn.Purger, error) {
		var h httpPurgeConfig
		if p.HTTP != nil {
			h = *p.HTTP
		}
		return httppurge.New(httppurge.Config{
			Name: name, Groups: p.Groups, Method: h.Method, Accept: h.Accept,
			KeyHeader: h.KeyHeader, KeySeparator: h.KeySeparator, KeyPath: h.KeyPath, AllPath: h.AllPath,
			Token: token, TokenHeader: h.TokenHeader, Gap: time.Duration(p.Gap),
		})
	}},
}

// check refuses fields that are missing or mean nothing for the kind.
func (p providerConfig) check() error {
	kind, ok := providerKinds[p.Kind]
	if !ok {
		return wrong("kind", "%q is not one of %s", p.Kind, strings.Join(wire.Keys(providerKinds), ", "))
	}
	for _, field := range []struct {
		name  string
		there bool
	}{
		{"token_file", p.TokenFile != ""}, {"endpoint", p.Endpoint != ""}, {"groups", p.Groups != nil}, {"gap", p.Gap != 0},
		{"plan", p.Plan != ""}, {"variants", p.Variants != nil}, {"environments", p.Environments != nil},
		{"fences", p.Fences != nil}, {"aws_region", p.AWSRegion != ""}, {"http", p.HTTP != nil},
	} {
		switch {
		case slices.Contains(kind.needs, field.name) && !field.there:
			return wrong(field.name, "is missing, %s needs it", p.Kind)
		case field.there && !slices.Contains(kind.needs, field.name) && !slices.Contains(kind.takes, field.name):
			return wrong(field.name, "means nothing for %s", p.Kind)
		}
	}
	if p.Gap.Std() > maxGap {
		return wrong("gap", "is %s, want at most %s", p.Gap, maxGap)
	}
	for _, scope := range wire.Keys(p.Groups) {
		for i, base := range p.Groups[scope] {
			if first := slices.IndexFunc(p.Groups[scope], func(o string) bool { return instance(o) == instance(base) }); first < i {
				return wrong(fmt.Sprintf("groups.%s[%d]", scope, i), "is the same as groups.%s[%d]", scope, first)
			}
		}
	}
	switch h := p.HTTP; {
	case h == nil:
	case h.KeySeparator != "" && h.KeyHeader == "":
		return wrong("http.key_separator", "means nothing without key_header")
	case h.TokenHeader != "" && p.TokenFile == "":
		return wrong("http.token_header", "means nothing without token_file")
	case h.Method != "":
		if err := httppurge.CheckMethod(h.Method, p.Groups); err != nil {
			return wrong("http.method", "%w", err)
		}
	}
	return nil
}

// instance returns the address of a cache in the one form that others of it have, too.
func instance(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base // which is refused when its client is made
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port) + strings.TrimRight(u.EscapedPath(), "/")
}

// maxGap keeps a gap or an origin fetch with a wrong unit from holding every rollout.
const maxGap = time.Hour
