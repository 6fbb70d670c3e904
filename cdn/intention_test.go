package cdn

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A resend carries the id of the first attempt, across a restart too; the second
// round and the next epoch carry another one, or a provider that recognises ids
// would take them for purges it has already done.
func TestIntentionOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := func(context.Context, int, Request) (Receipt, error) { return Receipt{}, fail(Unknown) }
		db := openDB(t, filepath.Join(t.TempDir(), "db"))
		before := &script{name: "own", caps: testCaps(), answer: lost}
		o := newOutbox(t, db, before)
		stop := run(t, o)
		submit(t, o, Rounds(testCaps(), keyItem(""), []Selector{{Key, "a"}, {Key, "b"}}, 0)...)
		synctest.Wait()
		time.Sleep(time.Minute)
		stop()

		after := &script{name: "own", caps: testCaps()}
		o = newOutbox(t, db, after)
		run(t, o)
		next := keyItem("")
		next.Epoch++
		time.Sleep(time.Hour) // the resend and its second round come first
		items := Rounds(testCaps(), next, []Selector{{Key, "a"}, {Key, "b"}}, 0)
		if _, err := o.Wait(t.Context(), submit(t, o, items...)...); err != nil {
			t.Fatal(err)
		}

		first := before.sent()[0].ID
		if first == "" || len(before.sent()) < 2 {
			t.Fatalf("id %q after %d attempts", first, len(before.sent()))
		}
		for _, r := range append(before.sent(), after.sent()[0]) {
			if r.ID != first {
				t.Errorf("a resend has id %s, the first attempt %s", r.ID, first)
			}
		}
		seen := map[string]bool{}
		for _, r := range after.sent() {
			if seen[r.ID] {
				t.Errorf("two intentions have id %s", r.ID)
			}
			seen[r.ID] = true
		}
		if len(seen) != 4 {
			t.Errorf("%d intentions, want 2 rounds of 2 epochs", len(seen))
		}
	})
}

// Those who were told the same time come back spread over a tenth of it.
func TestRetryAfterIsSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		wait := retryAfter(&Error{Class: RateLimited, RetryAfter: time.Minute})
		if wait < time.Minute || wait > 66*time.Second {
			t.Fatalf("%s after being told 1m", wait)
		}
		seen[wait] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 waits fall on %d times", len(seen))
	}
}
