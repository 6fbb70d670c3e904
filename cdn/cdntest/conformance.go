package cdntest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
)

// Subject is a Purger with a cache to see its effect in.
type Subject struct {
	Purger cdn.Purger
	Scope  string
	Token  string // must not show up in errors
	// Put caches a URL of host Host under tags. Has reports whether it is
	// still served from the cache, and must not fill the cache.
	Put func(t *testing.T, url string, tags ...string)
	Has func(t *testing.T, url string) bool
	// Keeps has a cache of the scope fetch a response whose X-Ebbgate-Gen is gen,
	// none if that is empty, and reports whether the cache kept it. Required if
	// the Purger is a Fencer.
	Keeps func(t *testing.T, gen string) bool
	// Calls counts the requests that reached the provider.
	Calls func() int
}

// Host is the host name of all URLs that the suite caches.
const Host = "www.example.com"

// Run checks the promises of cdn.Purger. fresh returns a new Subject with an
// empty cache each time.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	t.Run("capabilities", func(t *testing.T) { capabilities(t, fresh(t)) })
	t.Run("effect", func(t *testing.T) { effect(t, fresh) })
	t.Run("batch", func(t *testing.T) { batch(t, fresh(t)) })
	t.Run("refuses", func(t *testing.T) { refuses(t, fresh(t)) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, fresh(t)) })
	t.Run("unknown scope", func(t *testing.T) { unknownScope(t, fresh(t)) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, fresh(t)) })
	t.Run("fence", func(t *testing.T) { fence(t, fresh) })
}

func capabilities(t *testing.T, s Subject) {
	if name := s.Purger.Name(); name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		t.Errorf("name %q is not in [a-z0-9-]", name)
	}
	caps := s.Purger.Capabilities()
	if len(caps.Kinds) == 0 {
		t.Error("no kind can be purged")
	}
	for kind, limits := range caps.Kinds {
		if limits.Batch < 1 {
			t.Errorf("kind %s: batch %d", kind, limits.Batch)
		}
		if quota, ok := caps.Buckets[limits.Bucket]; limits.Bucket != "" && (!ok || quota.Burst < 1 || quota.PerSecond <= 0) {
			t.Errorf("kind %s: bucket %q is %+v, declared %v", kind, limits.Bucket, quota, ok)
		}
	}
}

const (
	target = "https://" + Host + "/rules/a.json"
	other  = "https://" + Host + "/flags/b.json"
)

// choose returns a selector of a kind that hits target.
func choose(kind cdn.Kind) cdn.Selector {
	switch kind {
	case cdn.Key:
		return cdn.Selector{Kind: kind, Value: "rules@eu-west-17"}
	case cdn.URL:
		return cdn.Selector{Kind: kind, Value: target}
	case cdn.Prefix:
		return cdn.Selector{Kind: kind, Value: Host + "/rules/"}
	case cdn.Host:
		return cdn.Selector{Kind: kind, Value: Host}
	default:
		return cdn.Selector{Kind: kind}
	}
}

// able returns a selector of the narrowest kind that the provider has.
func able(s Subject) cdn.Selector {
	for _, kind := range cdn.Kinds {
		if _, ok := s.Purger.Capabilities().Kinds[kind]; ok {
			return choose(kind)
		}
	}
	panic("cdntest: no kind can be purged")
}

func effect(t *testing.T, fresh func(t *testing.T) Subject) {
	for _, kind := range cdn.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := fresh(t)
			s.Put(t, target, "rules@eu-west-17", "rules")
			s.Put(t, other, "flags@eu-west-17")
			request := cdn.Request{Scope: s.Scope, Selectors: []cdn.Selector{choose(kind)}}
			before := s.Calls()
			if _, able := s.Purger.Capabilities().Kinds[kind]; !able {
				_, err := s.Purger.Purge(t.Context(), request)
				wantClass(t, s, err, cdn.Refused)
				if s.Calls() != before {
					t.Error("a kind that is not declared was sent")
				}
				return
			}
			for range 2 { // repeating is harmless
				receipt, err := s.Purger.Purge(t.Context(), request)
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := receipt.IDs[request.Selectors[0]]; !ok || receipt.AcceptedAt.IsZero() {
					t.Errorf("receipt %+v", receipt)
				}
			}
			if s.Has(t, target) {
				t.Errorf("%s is still cached after %s", target, request.Selectors[0])
			}
			if wide := kind == cdn.Host || kind == cdn.All; s.Has(t, other) == wide {
				t.Errorf("%s cached: %v after %s", other, !wide, request.Selectors[0])
			}
		})
	}
}

func batch(t *testing.T, s Subject) {
	limits, ok := s.Purger.Capabilities().Kinds[cdn.Key]
	if !ok {
		t.Skip("no keys")
	}
	var full []cdn.Selector
	for i := range limits.Batch {
		full = append(full, cdn.Selector{Kind: cdn.Key, Value: fmt.Sprintf("key-%d", i)})
	}
	s.Put(t, target, full[0].Value)
	s.Put(t, other, full[len(full)-1].Value)
	receipt, err := s.Purger.Purge(t.Context(), cdn.Request{Scope: s.Scope, Selectors: full})
	if err != nil || len(receipt.IDs) != len(full) {
		t.Fatalf("%d receipts for %d keys, %v", len(receipt.IDs), len(full), err)
	}
	if s.Has(t, target) || s.Has(t, other) {
		t.Error("an object of a full batch is still cached")
	}
	before := s.Calls()
	_, err = s.Purger.Purge(t.Context(), cdn.Request{Scope: s.Scope, Selectors: append(full, choose(cdn.Key))})
	wantClass(t, s, err, cdn.Refused)
	if s.Calls() != before {
		t.Error("more than a batch was sent")
	}
}

func refuses(t *testing.T, s Subject) {
	s.Put(t, target, "rules")
	before := s.Calls()
	key := func(value string) []cdn.Selector { return []cdn.Selector{{Kind: cdn.Key, Value: value}} }
	for name, selectors := range map[string][]cdn.Selector{
		"none":         nil,
		"space":        key("rules flags"),
		"newline":      key("rules\r\nEvil: 1"),
		"empty":        key(""),
		"dots":         key(".."),
		"long":         key(strings.Repeat("k", 1025)),
		"not ASCII":    key("règles"),
		"mixed":        {choose(cdn.Key), choose(cdn.URL)},
		"bad URL":      {{Kind: cdn.URL, Value: "ftp://" + Host + "/a"}},
		"unknown kind": {{Kind: "regex", Value: ".*"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Purger.Purge(t.Context(), cdn.Request{Scope: s.Scope, Selectors: selectors})
			wantClass(t, s, err, cdn.Refused)
		})
	}
	for _, scope := range []string{"", "../user", "a/b", "a?b"} {
		_, err := s.Purger.Purge(t.Context(), cdn.Request{Scope: scope, Selectors: []cdn.Selector{able(s)}})
		wantClass(t, s, err, cdn.Refused)
	}
	if n := s.Calls() - before; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if !s.Has(t, target) {
		t.Error("a refused request purged something")
	}
}

func cancelled(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Purger.Purge(ctx, cdn.Request{Scope: s.Scope, Selectors: []cdn.Selector{able(s)}})
	var e *cdn.Error
	if !errors.As(err, &e) || e.Class.Terminal() || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a retryable *cdn.Error that wraps context.Canceled", err)
	}
}

func unknownScope(t *testing.T, s Subject) {
	_, err := s.Purger.Purge(t.Context(), cdn.Request{Scope: "no-such-scope", Selectors: []cdn.Selector{able(s)}})
	wantClass(t, s, err, cdn.NotFound)
}

// concurrent means most under the race detector.
func concurrent(t *testing.T, s Subject) {
	var wg sync.WaitGroup
	for range 4 {
		for kind := range s.Purger.Capabilities().Kinds {
			wg.Go(func() {
				if _, err := s.Purger.Purge(t.Context(), cdn.Request{Scope: s.Scope, Selectors: []cdn.Selector{choose(kind)}}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func wantClass(t *testing.T, s Subject, err error, class cdn.Class) {
	t.Helper()
	Failed(t, s.Purger, err, class, s.Token)
}

// Failed checks what a Purger has failed with: an error of its own and of the class, in one
// line and without the secrets. It returns that, nil if it is another error.
func Failed(t *testing.T, p cdn.Purger, err error, class cdn.Class, secrets ...string) *cdn.Error {
	t.Helper()
	var e *cdn.Error
	if !errors.As(err, &e) {
		t.Errorf("error %v is not a *cdn.Error", err)
		return nil
	}
	if e.Class != class || e.Provider != p.Name() {
		t.Errorf("error of %s has class %s, want %s of %s: %v", e.Provider, e.Class, class, p.Name(), err)
	}
	text := fmt.Sprintf("%v %+v", err, err)
	if strings.Contains(text, "\n") || slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
		t.Errorf("error contains a secret or a line break: %q", text)
	}
	return e
}
