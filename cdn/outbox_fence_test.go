package cdn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fencer answers fences as told: each call takes the next error.
type fencer struct {
	*script
	errs   []error
	spread time.Duration
	raised []string // guarded by mu
}

func (f *fencer) Fence(_ context.Context, scope, name string, epoch uint64) error {
	defer time.Sleep(f.spread)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.raised = append(f.raised, fmt.Sprintf("%s/%s-%d", scope, name, epoch))
	if len(f.errs) == 0 {
		return nil
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return err
}

func fenceItem(name string) Item {
	i := keyItem("a")
	i.Selector = Selector{Fence, name}
	return i
}

// A fence is an item of the outbox: durable, repeated until it is known to stand, and
// passed over where the scope has none.
func TestFenceItems(t *testing.T) {
	for name, test := range map[string]struct {
		errs    []error
		calls   int
		state   State
		skipped string
	}{
		"stands":          {nil, 1, StateAccepted, ""},
		"after a failure": {[]error{fail(Unknown), fail(Retryable)}, 3, StateAccepted, ""},
		"has none":        {[]error{&Error{Provider: "own", Class: NotFound, Err: ErrNoFence}}, 1, StateAccepted, "no fence is configured"},
		"says why":        {[]error{&Error{Provider: "own", Class: NotFound, Message: "svc has no dictionary", Err: ErrNoFence}}, 1, StateAccepted, "svc has no dictionary"},
		"refused":         {[]error{fail(Auth)}, 1, StateRefused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db := openDB(t, path)
			p := &fencer{script: &script{name: "own", caps: testCaps()}, errs: test.errs}
			o, err := NewOutbox(OutboxConfig{DB: db, Purgers: []Purger{p}, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			ids := submit(t, o, fenceItem("waf.eu-west"))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- o.Run(ctx) }()
			entries, err := o.Wait(t.Context(), ids...)
			stop()
			if err := errors.Join(err, <-done, db.Close()); err != nil {
				t.Fatal(err)
			}
			if e := entries[0]; e.State != test.state || e.Skipped != test.skipped || len(p.raised) != test.calls || len(p.sent()) != 0 {
				t.Errorf("%s after %d fences and %d purges, skipped %q, want %s after %d", e.State, len(p.raised), len(p.sent()), e.Skipped, test.state, test.calls)
			}
			if !slices.Contains(p.raised, "svc/waf.eu-west-17") {
				t.Errorf("raised %q", p.raised)
			}
			again := newOutbox(t, openDB(t, path), p)
			if e, ok := again.Get(ids[0]); !ok || e.State != test.state || e.Item.Selector != (Selector{Fence, "waf.eu-west"}) {
				t.Errorf("read back as %+v, %v", e, ok)
			}
		})
	}
}

// Fences of one name that are due together, as after a restart, are one call, for the
// highest of them.
func TestTheHighestFenceIsRaised(t *testing.T) {
	p := &fencer{script: &script{name: "own", caps: testCaps()}}
	o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), p)
	newer := fenceItem("waf.eu-west")
	newer.Epoch = 18
	ids := submit(t, o, newer, fenceItem("waf.eu-west"))
	stop := run(t, o)
	entries, err := o.Wait(t.Context(), ids...)
	stop()
	if err != nil || entries[0].State != StateAccepted || entries[1].State != StateAccepted {
		t.Errorf("%s, %v", states(entries), err)
	}
	if want := []string{"svc/waf.eu-west-18"}; !slices.Equal(p.raised, want) {
		t.Errorf("raised %q, want %q", p.raised, want)
	}
}

// A fence that spreads holds up neither the others of its scope nor its purges: the time
// that a plan foresees for the fences of a region is that of one.
func TestFencesSpreadTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fencer{script: &script{name: "own", caps: testCaps()}, spread: 30 * time.Second}
		o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), p)
		stop := run(t, o)
		begin := time.Now()
		fences := submit(t, o, fenceItem("waf.ap"), fenceItem("waf.eu"), fenceItem("waf.us"))
		synctest.Wait()
		if _, err := o.Wait(t.Context(), submit(t, o, keyItem("flags"))...); err != nil || time.Since(begin) != 0 {
			t.Errorf("a purge beside fences took %s: %v", time.Since(begin), err)
		}
		if _, err := o.Wait(t.Context(), fences...); err != nil || time.Since(begin) != p.spread {
			t.Errorf("three fences took %s: %v", time.Since(begin), err)
		}
		stop()
	})
}

// Nobody raises a fence by writing it into a rule, a request or an item of a provider that
// has none.
func TestFenceIsNoPurge(t *testing.T) {
	if s, err := ParseSelector("fence:waf.eu-west"); err == nil {
		t.Errorf("a rule can say %s", s)
	}
	if err := testCaps().Validate(Request{Scope: "svc", Selectors: []Selector{{Fence, "waf.eu-west"}}}); err == nil {
		t.Error("a request can purge by fence")
	}
	plain, able := &script{name: "own", caps: testCaps()}, &fencer{script: &script{name: "own", caps: testCaps()}}
	for _, c := range []struct {
		p    Purger
		item Item
	}{{plain, fenceItem("waf.eu-west")}, {able, fenceItem("Waf eu")}, {able, fenceItem("")}} {
		o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), c.p)
		if _, err := o.Submit(t.Context(), []Item{c.item}); err == nil {
			t.Errorf("submitted %q", c.item.Selector)
		}
	}
}
