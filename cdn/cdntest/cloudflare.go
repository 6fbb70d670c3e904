package cdntest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/cdn"
)

// CloudflareConfig of a stand-in for api.cloudflare.com/client/v4.
type CloudflareConfig struct {
	Token   string      // what the bearer token must be; required
	Zones   []string    // known zone ids; empty means any
	Burst   int         // bucket of tag, host, prefix and everything purges; default 500 (Enterprise)
	Rate    float64     // refill of that bucket per second; default 50 (Enterprise)
	Files   int         // URLs per request; default 500 (Enterprise)
	OnPurge func(Purge) // called for each purge carried out; may be nil
}

// Cloudflare answers POST /zones/{id}/purge_cache and
// /zones/{id}/environments/{id}/purge_cache, with or without /client/v4 before
// them, as configtest.Cloudflare does.
type Cloudflare struct {
	standIn
	config CloudflareConfig
	bucket *rate.Limiter
}

func NewCloudflare(c CloudflareConfig) *Cloudflare {
	if c.Burst == 0 {
		c.Burst = 500
	}
	if c.Rate == 0 {
		c.Rate = 50
	}
	if c.Files == 0 {
		c.Files = 500
	}
	return &Cloudflare{
		standIn: standIn{onPurge: c.OnPurge}, config: c,
		bucket: rate.NewLimiter(rate.Limit(c.Rate), c.Burst),
	}
}

func (c *Cloudflare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := c.next()
	if !c.begin(w, r, fault) {
		return
	}
	if fault.Status != 0 || fault.Code != 0 {
		status := fault.Status
		if status == 0 {
			status = http.StatusOK
		}
		cloudflareError(w, status, fault.Code, fault.Message)
		return
	}
	_, path, _ := strings.Cut(r.URL.Path, "/zones/")
	zone, rest, _ := strings.Cut(path, "/")
	environment := ""
	if inner, ok := strings.CutPrefix(rest, "environments/"); ok {
		environment, rest, _ = strings.Cut(inner, "/")
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+c.config.Token:
		cloudflareError(w, http.StatusForbidden, 10000, "Authentication error")
		return
	case r.Method != http.MethodPost || rest != "purge_cache",
		len(c.config.Zones) > 0 && !slices.Contains(c.config.Zones, zone):
		cloudflareError(w, http.StatusBadRequest, 7003, "Could not route to "+r.URL.Path+", perhaps your object identifier is invalid?")
		return
	}
	selectors, variants, err := c.selectors(r.Body)
	if err != nil {
		cloudflareError(w, http.StatusBadRequest, 1014, err.Error())
		return
	}
	if selectors[0].Kind != cdn.URL && !c.bucket.Allow() {
		w.Header().Set("Retry-After", wholeSeconds(time.Duration(float64(time.Second)/c.config.Rate)))
		cloudflareError(w, http.StatusTooManyRequests, 971, "Please wait and consider throttling your request speed")
		return
	}
	c.done(Purge{Provider: "cloudflare", Scope: zone, Environment: environment, Selectors: selectors, Variants: variants}, fault)
	answer(w, http.StatusOK, map[string]any{
		"success": true, "errors": []any{}, "messages": []any{},
		"result": map[string]string{"id": fmt.Sprintf("%032x", c.Calls())},
	})
}

// file is a URL, alone or with the headers that its cache key depends on.
type file struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
}

func (f *file) UnmarshalJSON(data []byte) error {
	type object file
	if err := json.Unmarshal(data, &f.URL); err == nil {
		return nil
	}
	return json.Unmarshal(data, (*object)(f))
}

// selectors takes a body with exactly one of the five ways to purge.
func (c *Cloudflare) selectors(body io.Reader) ([]cdn.Selector, []map[string]string, error) {
	var b struct {
		Files      []file   `json:"files"`
		Tags       []string `json:"tags"`
		Hosts      []string `json:"hosts"`
		Prefixes   []string `json:"prefixes"`
		Everything bool     `json:"purge_everything"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&b); err != nil {
		return nil, nil, fmt.Errorf("the request body is not valid: %w", err)
	}
	var urls []string
	var variants []map[string]string
	for _, f := range b.Files {
		urls, variants = append(urls, f.URL), append(variants, f.Headers)
	}
	var out []cdn.Selector
	ways := 0
	add := func(kind cdn.Kind, values []string, limit int) error {
		if len(values) > limit {
			return fmt.Errorf("%d operations of kind %s, at most %d", len(values), kind, limit)
		}
		if len(values) > 0 {
			ways++
		}
		for _, v := range values {
			out = append(out, cdn.Selector{Kind: kind, Value: v})
		}
		return nil
	}
	for _, err := range []error{
		add(cdn.URL, urls, c.config.Files), add(cdn.Key, b.Tags, 100),
		add(cdn.Host, b.Hosts, 100), add(cdn.Prefix, b.Prefixes, 100),
	} {
		if err != nil {
			return nil, nil, err
		}
	}
	if b.Everything {
		ways++
		out = append(out, cdn.Selector{Kind: cdn.All})
	}
	if ways != 1 {
		return nil, nil, fmt.Errorf("exactly one of files, tags, hosts, prefixes and purge_everything, not %d", ways)
	}
	return out, variants, nil
}

func cloudflareError(w http.ResponseWriter, status, code int, message string) {
	answer(w, status, map[string]any{
		"success": false, "messages": []any{}, "result": nil,
		"errors": []map[string]any{{"code": code, "message": message}},
	})
}
