// Package cloudflare holds the targets at Cloudflare: Workers KV namespaces, Workers,
// and rulesets.
//
// What the client (cloudflare-go v7.9.0) would do wrong on its own, and what is done
// about it here:
//
//   - Its multipart encoder writes nested metadata as one form field for each leaf,
//     which the API does not understand: uploads of Workers are encoded here.
//   - HTTP 200 with success:false returns no error, and BulkUpdate and BulkDelete
//     return none for keys that failed: the answer is decoded here.
//   - Its decoder of rules drops what the version of the library does not know, so a
//     ruleset that was read could not be written back: rules stay JSON.
//   - It retries twice and sleeps as long as Retry-After says: no retries.
//   - Ids and key names go into paths unescaped: ids are checked, and keys travel in
//     bodies only.
//   - Its root package costs over 140 CPU seconds to build: kv, workers and rulesets
//     are imported alone, which costs 15, and fields are set directly.
package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/option"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Account is how a target reaches Cloudflare.
type Account struct {
	Token    string        // required; it has to be allowed to edit the target
	Endpoint string        // default https://api.cloudflare.com/client/v4/
	Timeout  time.Duration // of one call; default 30 s
}

// maxAnswer bounds an answer: 100 values of a namespace, 25 MB by the documentation.
const maxAnswer = 64 << 20

// client makes the calls of one target.
type client struct {
	name  string // of the target
	scope string // of the target: account or zone
	token string
	opts  []option.RequestOption
}

func newClient(a Account, scope, name string) (client, error) {
	if a.Endpoint == "" {
		a.Endpoint = "https://api.cloudflare.com/client/v4/"
	}
	if a.Timeout == 0 {
		a.Timeout = 30 * time.Second
	}
	if err := apihttp.ValidToken(a.Token); err != nil {
		return client{}, fmt.Errorf("cloudflare target: %w", err)
	}
	if err := apihttp.Endpoint(a.Endpoint); err != nil {
		return client{}, fmt.Errorf("cloudflare target: endpoint %w", err)
	}
	if a.Timeout < 0 {
		return client{}, errors.New("cloudflare target: timeout is negative")
	}
	return client{name: name, scope: scope, token: a.Token, opts: []option.RequestOption{
		option.WithBaseURL(strings.TrimRight(a.Endpoint, "/") + "/"),
		option.WithAPIToken(a.Token),
		option.WithMaxRetries(0),
		option.WithHTTPClient(apihttp.ClientFor(a.Timeout, maxAnswer)),
	}}, nil
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

func checkHex(field, id string) error {
	if !hexPattern.MatchString(id) {
		return fmt.Errorf("cloudflare target: %s: %q is not 32 hexadecimal digits", field, id)
	}
	return nil
}

func (c client) Name() string { return c.name }

// call makes one call and decodes its result into result, which may be nil. What the
// library makes of the answer does not count.
func (c client) call(ctx context.Context, op string, result any, do func(ctx context.Context) error) error {
	_, err := c.page(ctx, op, result, do)
	return err
}

// page is call, and returns where the next page begins, "" after the last.
func (c client) page(ctx context.Context, op string, result any, do func(ctx context.Context) error) (cursor string, err error) {
	ctx, answer := apihttp.WithAnswer(ctx)
	err = do(ctx)
	cursor, failed := apihttp.Call{Provider: "cloudflare", Scope: c.scope, Secrets: []string{c.token}, Answer: answer}.Cloudflare(err, result)
	if failed != nil {
		return "", &config.Error{Op: op, Target: c.name, Err: failed}
	}
	return cursor, nil
}

// refused is a failure that repeating does not mend.
func (c client) refused(op, message string) error {
	return &config.Error{Op: op, Target: c.name, Err: &cdn.Error{
		Provider: "cloudflare", Class: cdn.Refused, Message: apihttp.Redact(message, c.token),
	}}
}

// noEntryPoint says that the phase of the zone never had a ruleset.
const noEntryPoint apihttp.CloudflareCode = 10003
