package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudflare/cloudflare-go/v7/cache"

	"github.com/ebbgate/ebbgate/cdn"
)

// send purges the zone, or the environment that its purges are narrowed to.
func (p *Purger) send(ctx context.Context, zone string, body cache.CachePurgeParamsBody) error {
	if environment := p.environments[zone]; environment != "" {
		params := cache.CachePurgeEnvironmentParams{Body: cache.CachePurgeEnvironmentParamsBody(body)}
		params.ZoneID.Value, params.ZoneID.Present = zone, true
		_, err := p.service.PurgeEnvironment(ctx, environment, params)
		return err
	}
	params := cache.CachePurgeParams{Body: body}
	params.ZoneID.Value, params.ZoneID.Present = zone, true
	_, err := p.service.Purge(ctx, params)
	return err
}

func (p *Purger) body(selectors []cdn.Selector) cache.CachePurgeParamsBody {
	values := make([]string, len(selectors))
	for i, s := range selectors {
		values[i] = s.Value
	}
	var b cache.CachePurgeParamsBody
	switch kind := selectors[0].Kind; kind {
	case cdn.Key:
		b.Tags.Value, b.Tags.Present = values, true
	case cdn.URL:
		b.Files.Value, b.Files.Present = p.files(values), true
	case cdn.Prefix:
		b.Prefixes.Value, b.Prefixes.Present = values, true
	case cdn.Host:
		b.Hosts.Value, b.Hosts.Present = values, true
	case cdn.All:
		b.PurgeEverything.Value, b.PurgeEverything.Present = true, true
	default:
		panic("cloudflare: unknown kind " + string(kind))
	}
	return b
}

// files names each URL in all its forms: as such, and with the headers of each
// variant.
func (p *Purger) files(urls []string) any {
	if len(p.variants) == 0 {
		return urls
	}
	var out []cache.CachePurgeParamsBodyCachePurgeSingleFileWithURLAndHeadersFile
	for _, url := range urls {
		var plain cache.CachePurgeParamsBodyCachePurgeSingleFileWithURLAndHeadersFile
		plain.URL.Value, plain.URL.Present = url, true
		out = append(out, plain)
		for _, headers := range p.variants {
			form := plain
			form.Headers.Value, form.Headers.Present = headers, true
			out = append(out, form)
		}
	}
	return out
}

// maxVariants leaves every plan a batch of ten URLs.
const maxVariants = 9

func validVariants(variants []map[string]string) error {
	if len(variants) > maxVariants {
		return fmt.Errorf("variants has %d entries, at most %d are allowed", len(variants), maxVariants)
	}
	for i, headers := range variants {
		if len(headers) == 0 {
			return fmt.Errorf("variants[%d] has no header", i)
		}
		for name, value := range headers {
			bad := func(r rune) bool { return r < ' ' || r > '~' }
			if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || r == ':' || bad(r) }) || value == "" || strings.ContainsFunc(value, bad) {
				return fmt.Errorf("variants[%d]: %.80q: %.80q is not a header", i, name, value)
			}
		}
	}
	return nil
}

// checkEnvironments keeps an id from changing the path of a call.
func checkEnvironments(environments map[string]string) error {
	for zone, environment := range environments {
		bad := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
		if zone == "" || environment == "" || strings.ContainsFunc(zone+environment, bad) {
			return errors.New("environments must map ids of zones to ids of their environments, of letters, digits, - and _")
		}
	}
	return nil
}
