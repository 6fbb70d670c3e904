package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cloudflare"
	"github.com/ebbgate/ebbgate/cdn/cloudfront"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/cdn/httppurge"
	"github.com/ebbgate/ebbgate/cdn/varnish"
	"github.com/ebbgate/ebbgate/wire"
)

// providerConfig is one account at one provider. Only one of the kinds' own sections may be
// there, that of the kind; the fields beside them are of several kinds.
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
	HTTP         httpPurgeConfig     `yaml:"http"`
}

// httpPurgeConfig says how a cache of any kind takes a purge.
type httpPurgeConfig struct {
	Method       string `yaml:"method"`        // default PURGE
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
			return nil, fmt.Errorf("providers.%s: %w", name, err)
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
	} else if p.Kind != "http" { // caches of one's own may trust the address
		return nil, errors.New("token_file is missing")
	}
	switch p.Kind {
	case "fastly":
		return fastly.New(fastly.Config{Name: name, Token: token, Endpoint: p.Endpoint, Fences: p.Fences})
	case "cloudflare":
		return cloudflare.New(cloudflare.Config{
			Name: name, Token: token, Endpoint: p.Endpoint, Plan: cloudflare.Plan(p.Plan),
			Variants: p.Variants, Environments: p.Environments,
		})
	case "cloudfront":
		credentials, err := cloudfront.ParseCredentials(token)
		if err != nil {
			return nil, fmt.Errorf("token_file: %w", err)
		}
		return cloudfront.New(cloudfront.Config{Name: name, Credentials: credentials, Region: p.AWSRegion, Endpoint: p.Endpoint})
	case "varnish":
		return varnish.New(varnish.Config{Name: name, Token: token, Groups: p.Groups, Gap: time.Duration(p.Gap)})
	case "http":
		h := p.HTTP
		return httppurge.New(httppurge.Config{
			Name: name, Groups: p.Groups, Method: h.Method, Accept: h.Accept,
			KeyHeader: h.KeyHeader, KeySeparator: h.KeySeparator, KeyPath: h.KeyPath, AllPath: h.AllPath,
			Token: token, TokenHeader: h.TokenHeader, Gap: time.Duration(p.Gap),
		})
	}
	return nil, fmt.Errorf("kind %q is not one of fastly, cloudflare, cloudfront, varnish, http", p.Kind)
}
