// Package fastly holds the targets at Fastly: dictionaries, access lists, config
// stores, and the VCL of versioned services.
//
// What the client (go-fastly v12.1.0) would do wrong on its own, and what is done
// about it here:
//
//   - Its paginator stops after the first page when the answer has no Link header with
//     rel="last": pages are asked for one by one until one is not full.
//   - There is no timeout: each call has one.
//   - Writes to one service share a mutex that ignores the context, and all others
//     share another one: each call names its service, and one target makes one call
//     at a time.
//   - HTTPError lacks Retry-After, and its text spreads over many lines: both are read
//     from the answer itself.
//   - ToSafeURL turns ".." into nothing, so that a path gets one element less: ids are
//     checked when the target is made, names when a release is loaded.
//   - ValidateVersion returns ok=false without an error.
//   - FASTLY_DEBUG_MODE prints requests to stdout: switched off.
//
// What the API does that a caller has to know: a batch is done as a whole or not at
// all; "create" of what is there, and "update" or "delete" of what is not, refuse the
// batch; overlapping writes to one service may be lost; a clone of a version has the
// comment of its source; a version that served can be activated again and not edited.
package fastly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
	"github.com/ebbgate/ebbgate/cdn/internal/fastlyapi"
)

// Account is how a target reaches Fastly.
type Account struct {
	Token    string        // required; scope global on the service, or the store
	Endpoint string        // default https://api.fastly.com
	Timeout  time.Duration // of one call; default 30 s
}

// maxAnswer bounds an answer: 500 config store items of 8,000 characters in JSON.
const maxAnswer = 32 << 20

// client makes the calls of one target.
type client struct {
	*api.Client
	name  string // of the target
	scope string // of the target: service or store
	token string
}

func newClient(a Account, scope, name string) (client, error) {
	if a.Endpoint == "" {
		a.Endpoint = api.DefaultEndpoint
	}
	if a.Timeout == 0 {
		a.Timeout = 30 * time.Second
	}
	if err := apihttp.ValidToken(a.Token); err != nil {
		return client{}, fmt.Errorf("fastly target: %w", err)
	}
	if err := apihttp.Endpoint(a.Endpoint); err != nil {
		return client{}, fmt.Errorf("fastly target: endpoint %w", err)
	}
	if a.Timeout < 0 {
		return client{}, errors.New("fastly target: timeout is negative")
	}
	c, err := api.NewClientForEndpoint(a.Token, a.Endpoint)
	if err != nil {
		return client{}, fmt.Errorf("fastly target: %w", err)
	}
	c.HTTPClient = apihttp.ClientFor(a.Timeout, maxAnswer)
	c.DebugMode = false
	return client{Client: c, name: name, scope: scope, token: a.Token}, nil
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

func checkID(field, id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("fastly target: %s: %q is not 1 to 64 letters and digits", field, id)
	}
	return nil
}

func (c client) Name() string { return c.name }

// call makes one call. do returns what the library returned.
func (c client) call(ctx context.Context, op string, do func(ctx context.Context) error) error {
	ctx, answer := apihttp.WithAnswer(api.NewContextForResourceID(ctx, c.scope))
	err := do(ctx)
	if err == nil {
		return nil
	}
	failed := fastlyapi.Failure(apihttp.Call{Provider: "fastly", Scope: c.scope, Secrets: []string{c.token}, Answer: answer}, err)
	return &config.Error{Op: op, Target: c.name, Err: failed}
}

// refused is an answer that says no with HTTP 200.
func (c client) refused(op, message string) error {
	return &config.Error{Op: op, Target: c.name, Err: &cdn.Error{
		Provider: "fastly", Class: cdn.Refused, Message: apihttp.Redact(message, c.token),
	}}
}

const perPage = 100

// pages asks for one page after the other until one is not full.
func pages[T any](get func(page, perPage int) ([]T, error)) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		items, err := get(page, perPage)
		all = append(all, items...)
		if err != nil || len(items) < perPage {
			return all, err
		}
	}
}

// exact is for targets that give back what they were given.
type exact struct{}

func (exact) Same(_, have, want string) bool { return have == want }

func (exact) Stage(_ context.Context, want config.State, _ config.Content) (config.State, error) {
	return want, nil
}

// readJSON decodes a file of a release strictly.
func readJSON(files fs.FS, name string, into any) error {
	data, err := fs.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing from the release", name)
	}
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: holds more than one JSON value", name)
	}
	if strings.TrimSpace(string(data)) == "null" { // which decodes into nothing without an error
		return fmt.Errorf("%s: is null", name)
	}
	return nil
}
