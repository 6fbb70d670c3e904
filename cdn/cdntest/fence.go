package cdntest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
)

// fence checks the promises of cdn.Fencer, for a Purger that is one.
func fence(t *testing.T, fresh func(t *testing.T) Subject) {
	if _, ok := fresh(t).Purger.(cdn.Fencer); !ok {
		return
	}
	t.Run("raises", func(t *testing.T) { raises(t, fresh(t)) })
	t.Run("never lowers", func(t *testing.T) { neverLowers(t, fresh(t)) })
	t.Run("refuses", func(t *testing.T) { refusesFences(t, fresh(t)) })
}

// raises looks at once when Fence has returned: the fence has to be everywhere
// by then.
func raises(t *testing.T, s Subject) {
	if !s.Keeps(t, "eu-west-16") {
		t.Fatal("a response is not kept without a fence")
	}
	raise(t, s, "eu-west", 17)
	for gen, want := range map[string]bool{
		"eu-west-16": false, "eu-west-9": false, "eu-west-17": true, "eu-west-100": true,
		"us-east-4": true, "": true,
	} {
		if got := s.Keeps(t, gen); got != want {
			t.Errorf("after the fence eu-west-17 a response %q is kept: %v", gen, got)
		}
	}
	raise(t, s, "us-east", 5)
	if s.Keeps(t, "us-east-4") || !s.Keeps(t, "us-east-5") || !s.Keeps(t, "eu-west-17") {
		t.Error("the fence of a second region")
	}
}

func neverLowers(t *testing.T, s Subject) {
	var wg sync.WaitGroup
	for _, epoch := range []uint64{3, 17, 9, 17} {
		wg.Go(func() { raise(t, s, "eu-west", epoch) })
	}
	wg.Wait()
	raise(t, s, "eu-west", 4)      // late
	raise(t, s, "waf.eu-west", 99) // of one app: another name
	if s.Keeps(t, "eu-west-16") || !s.Keeps(t, "eu-west-17") {
		t.Error("the highest of the fences does not hold")
	}
}

func refusesFences(t *testing.T, s Subject) {
	f := s.Purger.(cdn.Fencer)
	before := s.Calls()
	for _, region := range []string{"", "EU", "a b", "-a", "a-", "a\nb", ".a", "a.", strings.Repeat("a", 128)} {
		wantClass(t, s, f.Fence(t.Context(), s.Scope, region, 1), cdn.Refused)
	}
	wantClass(t, s, f.Fence(t.Context(), s.Scope, "eu", cdn.MaxEpoch+1), cdn.Refused)
	for _, scope := range []string{"", "../user", "a/b", "a?b"} {
		wantClass(t, s, f.Fence(t.Context(), scope, "eu", 1), cdn.Refused)
	}
	wantClass(t, s, f.Fence(t.Context(), "no-such-scope", "eu", 1), cdn.NotFound)
	if n := s.Calls() - before; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.Fence(ctx, s.Scope, "eu", 1)
	var e *cdn.Error
	if !errors.As(err, &e) || e.Class.Terminal() || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a retryable *cdn.Error that wraps context.Canceled", err)
	}
}

func raise(t *testing.T, s Subject, region string, epoch uint64) {
	if err := s.Purger.(cdn.Fencer).Fence(t.Context(), s.Scope, region, epoch); err != nil {
		t.Error(err)
	}
}
