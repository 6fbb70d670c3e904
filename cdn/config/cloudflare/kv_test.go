package cloudflare

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

func keeperOf(t *testing.T, made config.Target, keep bool) *config.Keeper {
	t.Helper()
	k, err := config.NewKeeper(config.KeeperConfig{Target: made, Dir: t.TempDir(), Keep: keep, Settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// 2,350 keys are listed on three pages and read in 24 calls, and written in one.
func TestLargeNamespace(t *testing.T) {
	c, a := remote(t)
	path := configtest.NamespacePath(account, namespace)
	others := map[string]configtest.Pair{}
	for i := range 2350 {
		others[fmt.Sprint("theirs/", i)] = configtest.Pair{Value: "x"}
	}
	c.SetPairs(path, others)
	make := func(most int) config.Target {
		n, err := NewNamespace(a, account, namespace, most)
		return configtest.Target(t, n, err)
	}
	r := configtest.Release("1.0", map[string]string{"kv/a": "1"})
	if err := keeperOf(t, make(2000), false).Validate(t.Context(), r); err == nil || config.Passing(err) || !strings.Contains(err.Error(), "it holds more than 2000 keys") {
		t.Errorf("more than are read: %v", err)
	}
	if err := keeperOf(t, make(2000), true).Activate(t.Context(), r); err != nil {
		t.Errorf("beside others: %v", err)
	}
	if held := c.Pairs(path); len(held) != 2352 || held["a"].Value != "1" {
		t.Errorf("%d keys", len(held))
	}
	before := len(c.Calls())
	k := keeperOf(t, make(0), false)
	if err := k.Activate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if held := c.Pairs(path); len(held) != 2 {
		t.Errorf("%d keys are left", len(held))
	}
	if calls := len(c.Calls()) - before; calls != 3+24+1+1+1 {
		t.Errorf("%d calls", calls) // the mark was there: no write of it
	}
	if err := k.Restore(t.Context()); err != nil || len(c.Pairs(path)) != 2352 {
		t.Errorf("restored %d keys: %v", len(c.Pairs(path)), err)
	}
}

// plain says of JSON that it is text, which the library does not decode.
type plain struct{ http.ResponseWriter }

func (p plain) WriteHeader(status int) {
	p.Header().Set("Content-Type", "text/plain")
	p.ResponseWriter.WriteHeader(status)
}

// A list goes on where its page says so, whatever the library makes of that page.
func TestListThatTheLibraryDoesNotRead(t *testing.T) {
	c := configtest.NewCloudflare(configtest.Token)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.ServeHTTP(plain{w}, r) }))
	defer server.Close()
	held := map[string]configtest.Pair{}
	for i := range 2350 {
		held[fmt.Sprint(i)] = configtest.Pair{Value: "x"}
	}
	c.SetPairs(configtest.NamespacePath(account, namespace), held)
	n, err := NewNamespace(Account{Token: configtest.Token, Endpoint: server.URL + "/client/v4"}, account, namespace, 0)
	s, err := configtest.Target(t, n, err).Read(t.Context(), nil)
	if err != nil || len(s.Items) != len(held) {
		t.Errorf("%d items: %v", len(s.Items), err)
	}
}

// The stand-in answers with and without the path of Cloudflare's API, as that for purges does.
func TestStandInPath(t *testing.T) {
	c := configtest.NewCloudflare(configtest.Token)
	server := httptest.NewServer(c)
	defer server.Close()
	c.SetPairs(configtest.NamespacePath(account, namespace), map[string]configtest.Pair{"a": {Value: "1"}})
	for _, base := range []string{"", "/", "/client/v4", "/client/v4/"} {
		n, err := NewNamespace(Account{Token: configtest.Token, Endpoint: server.URL + base}, account, namespace, 0)
		if s, err := configtest.Target(t, n, err).Read(t.Context(), nil); err != nil || len(s.Items) != 1 {
			t.Errorf("at %q: %d items, %v", base, len(s.Items), err)
		}
	}
}

// With keep, a release that has changed nothing but the mark is taken back without reading
// what others hold.
func TestNothingToPutBack(t *testing.T) {
	c, a := remote(t)
	path := configtest.NamespacePath(account, namespace)
	c.SetPairs(path, map[string]configtest.Pair{"a": {Value: "1"}, "theirs": {Value: "x"}, "more": {Value: "y"}})
	n, err := NewNamespace(a, account, namespace, 2)
	k := keeperOf(t, configtest.Target(t, n, err), true)
	if err := k.Activate(t.Context(), configtest.Release("1.0", map[string]string{"kv/a": "1"})); err != nil {
		t.Fatal(err)
	}
	if err := k.Restore(t.Context()); err != nil || len(c.Pairs(path)) != 3 {
		t.Errorf("restored %v: %v", c.Pairs(path), err)
	}
}

// A bulk call that succeeds and names keys that failed is a failure of those.
func TestPartialBulk(t *testing.T) {
	c, a := remote(t)
	c.SetPairs(configtest.NamespacePath(account, namespace), map[string]configtest.Pair{})
	n, err := NewNamespace(a, account, namespace, 0)
	made := configtest.Target(t, n, err)
	c.At(1, configtest.Fault{FailKeys: 2})
	err = made.Write(t.Context(), config.Batch{Changes: []config.Change{{Key: "a", Value: `{"value":"1"}`}, {Key: "b", Value: `{"value":"2"}`}, {Key: "c", Value: `{"value":"3"}`}}})
	if cdn.ClassOf(err) != cdn.Retryable || !strings.Contains(err.Error(), `2 of 3 keys failed, first "a"`) {
		t.Error(err)
	}
}

// A namespace with a value that is no text cannot be owned as a whole: it could not be
// put back. A key that expires is left alone.
func TestNamespaceOfOthers(t *testing.T) {
	c, a := remote(t)
	path := configtest.NamespacePath(account, namespace)
	c.SetPairs(path, map[string]configtest.Pair{"image": {Value: "\ufffdPNG"}, "session": {Value: "x", Expiration: 4102444800}})
	n, err := NewNamespace(a, account, namespace, 0)
	made := configtest.Target(t, n, err)
	r := configtest.Release("1.0", map[string]string{"kv/a": "1"})
	if err := keeperOf(t, made, false).Validate(t.Context(), r); err == nil || config.Passing(err) || !strings.Contains(err.Error(), `key "image" holds no text`) {
		t.Errorf("as a whole: %v", err)
	}
	if err := keeperOf(t, made, true).Activate(t.Context(), r); err != nil {
		t.Errorf("beside others: %v", err)
	}
	if held := c.Pairs(path); len(held) != 4 || held["session"].Expiration == 0 {
		t.Errorf("%v", held)
	}
	taking := configtest.Release("2.0", map[string]string{"kv/image": "1"})
	if err := keeperOf(t, made, true).Validate(t.Context(), taking); err == nil || config.Passing(err) || !strings.Contains(err.Error(), `key "image" holds no text`) {
		t.Errorf("taken over: %v", err)
	}
}

// A key of a release is repaired and given back whatever somebody has put there: what
// was there before is in the record.
func TestNoTextInAKeyOfARelease(t *testing.T) {
	c, a := remote(t)
	path := configtest.NamespacePath(account, namespace)
	c.SetPairs(path, map[string]configtest.Pair{"a": {Value: "theirs"}})
	n, err := NewNamespace(a, account, namespace, 0)
	k := keeperOf(t, configtest.Target(t, n, err), false)
	r := configtest.Release("1.0", map[string]string{"kv/a": "1"})
	meddle := func() {
		c.SetPairs(path, map[string]configtest.Pair{"a": {Value: "\ufffdPNG"}, config.Mark: {Value: "1.0@1"}})
	}
	if err := k.Activate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	meddle()
	if _, err := k.Confirm(t.Context(), r); !errors.Is(err, config.ErrDiffers) {
		t.Errorf("confirmed: %v", err)
	}
	if err := k.Activate(t.Context(), r); err != nil || c.Pairs(path)["a"].Value != "1" {
		t.Errorf("repaired to %v: %v", c.Pairs(path), err)
	}
	meddle()
	if err := k.Restore(t.Context()); err != nil || fmt.Sprint(c.Pairs(path)) != "map[a:{theirs <nil> 0}]" {
		t.Errorf("restored %v: %v", c.Pairs(path), err)
	}
}

// HTTP 200 with success:false is a failure, of which the library says nothing.
func TestRefusedWithStatus200(t *testing.T) {
	for body, class := range map[string]cdn.Class{
		`{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}], "result": null}`: cdn.Auth,
		`{"success": false, "errors": [{"code": 7003, "message": "Could not route"}], "result": null}`:       cdn.NotFound,
		`{"success": false, "errors": [{"code": 1, "message": "no"}], "result": null}`:                       cdn.Refused,
		`{"success": false, "errors": [], "result": null}`:                                                   cdn.Unknown,
		`<html>`: cdn.Unknown,
		`{"success": true, "errors": [], "result": 7}`: cdn.Unknown,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}))
		n, err := NewNamespace(Account{Token: configtest.Token, Endpoint: server.URL}, account, namespace, 0)
		_, err = configtest.Target(t, n, err).Read(t.Context(), []string{"a"})
		if err == nil || cdn.ClassOf(err) != class {
			t.Errorf("%s: %v, want %s", body, err, class)
		}
		server.Close()
	}
}

func TestLoad(t *testing.T) {
	_, a := remote(t)
	n, err := NewNamespace(a, account, namespace, 0)
	kv := configtest.Target(t, n, err)
	r, err := NewRuleset(a, zone, phase)
	ruleset := configtest.Target(t, r, err)
	w, err := NewWorker(a, account, script, Trial{})
	worker := configtest.Target(t, w, err)
	for _, test := range []struct {
		target     config.Target
		file, text string
		says       string
	}{
		{kv, "site/index.html", "", "kv: open kv: file does not exist"},
		{kv, "kv/" + strings.Repeat("k", 513), "", "the key has 513 bytes, at most 512 are taken"},
		{kv, "kv/ebbgate-release", "", "the key is kept for the release"},
		{kv, "kv/a", "a\ufffdb", "kv/a: is not UTF-8 text, and could not be read back"},
		{ruleset, "other.json", "", "ruleset.json is missing from the release"},
		{ruleset, RulesetFile, `{"rules": [], "name": "x"}`, `ruleset.json: json: unknown field "name"`},
		{ruleset, RulesetFile, `{"rules": []} {"rules": []}`, "ruleset.json: holds more than one JSON value"},
		{ruleset, RulesetFile, `{"rules": []}}`, "ruleset.json: holds more than one JSON value"},
		{ruleset, RulesetFile, `{}`, "ruleset.json: rules is missing; an empty list removes all"},
		{ruleset, RulesetFile, `{"rules": [{"action": "block"}]}`, "ruleset.json: rules[0].expression: is missing"},
		{ruleset, RulesetFile, `{"rules": [{"action": "block", "expression": "true", "id": "x"}]}`, "ruleset.json: rules[0].id: is set by Cloudflare"},
		{ruleset, RulesetFile, `{"rules": [], "description": "ebbgate-release"}`, `ruleset.json: description: "ebbgate-release" is kept`},
		{worker, "modules/a.js", "", "worker.js is missing from the release"},
	} {
		_, err := test.target.Load(configtest.Release("1", map[string]string{test.file: test.text}).Files)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %.40q: %v, want %q", test.file, test.text, err, test.says)
		}
	}
	for text, says := range map[string]string{
		`{`:                    "worker.json: unexpected end of JSON input",
		`null`:                 "worker.json: is not an object",
		`{"annotations": {}}`:  "worker.json: annotations: is set by the release",
		`{"main_module": "x"}`: "worker.json: main_module: is set by the release",
	} {
		_, err := worker.Load(configtest.Release("1", map[string]string{"worker.js": "", "worker.json": text}).Files)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func TestNew(t *testing.T) {
	ok := Account{Token: "t"}
	for says, err := range map[string]error{
		"account: \"x\" is not 32":                                     configtest.Refusal(NewNamespace(ok, "x", namespace, 0)),
		"namespace: \"\" is not 32":                                    configtest.Refusal(NewNamespace(ok, account, "", 0)),
		"zone: \"../user\" is not":                                     configtest.Refusal(NewRuleset(ok, "../user", phase)),
		"phase: \"x\" is unknown":                                      configtest.Refusal(NewRuleset(ok, zone, "x")),
		"script: \"a/b\" is not":                                       configtest.Refusal(NewWorker(ok, account, "a/b", Trial{})),
		"trial: 100% for 1ns is":                                       configtest.Refusal(NewWorker(ok, account, script, Trial{Percent: 100, For: 1})),
		"trial: 1% for 10m0.000000001s is not 0 to 99 for up to 10m0s": configtest.Refusal(NewWorker(ok, account, script, Trial{Percent: 1, For: 10*time.Minute + 1})),
		"token is empty":                                               configtest.Refusal(NewWorker(Account{}, account, script, Trial{})),
		"endpoint must be":                                             configtest.Refusal(NewRuleset(Account{Token: "t", Endpoint: "ftp://x"}, zone, phase)),
		"timeout is negative":                                          configtest.Refusal(NewRuleset(Account{Token: "t", Timeout: -1}, zone, phase)),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
