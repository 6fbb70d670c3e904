package fastly

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

// A header of more than 16,384 bytes would be cut, and the keys behind the cut
// silently ignored.
func TestHeaderLimit(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{})
	var long []string
	for i := range 20 {
		long = append(long, fmt.Sprintf("%02d", i)+strings.Repeat("k", 1022))
	}
	if _, err := p.Purge(t.Context(), keys(long[:16]...)); cdn.ClassOf(err) != cdn.Refused || remote.Calls() != 0 {
		t.Errorf("16 keys of 1,024 bytes: %v after %d calls", err, remote.Calls())
	}
	receipt, err := cdn.Purge(t.Context(), p, keys(long...))
	if err != nil || len(receipt.IDs) != 20 || remote.Calls() != 2 {
		t.Errorf("%d of 20 keys in %d calls, %v", len(receipt.IDs), remote.Calls(), err)
	}
}

// The own bucket keeps the account within 1,000 calls an hour; keys and URLs are
// exempt.
func TestOwnQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Token: canary})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for _, step := range []struct {
			kind cdn.Kind
			n    int
			at   time.Duration
		}{{cdn.All, 1000, 0}, {cdn.Key, 5000, 0}, {cdn.URL, 5000, 0}, {cdn.All, 2, 7200 * time.Millisecond}} {
			for range step.n {
				if err := p.limiter.Wait(t.Context(), p.name, step.kind, 1); err != nil {
					t.Fatal(err)
				}
			}
			if at := time.Since(begin).Round(time.Millisecond); at != step.at {
				t.Errorf("%d of kind %s at %s, want %s", step.n, step.kind, at, step.at)
			}
		}
	})
}
