package cdn

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

func TestRestartInEveryState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	hang := func(ctx context.Context, _ int, r Request) (Receipt, error) {
		if r.Selectors[0].Value == "sent" {
			<-ctx.Done()
			return Receipt{}, &Error{Class: Unknown, Err: ctx.Err()}
		}
		return accept(r), nil
	}
	o := newOutbox(t, db, &script{name: "own", caps: testCaps(), answer: hang})
	later := keyItem("intended")
	later.NotBefore = time.Now().Add(time.Hour)
	sent := keyItem("sent")
	sent.Scope = "slow"
	ids := submit(t, o, later, sent, keyItem("accepted"))
	stop := run(t, o)
	eventually(t, o, ids[1], StateSent)
	eventually(t, o, ids[2], StateAccepted)
	stop()
	if e, _ := o.Get(ids[1]); e.LastError != "" || !e.DueAt.IsZero() {
		t.Errorf("the end of Run is taken for a failure: %+v", e)
	}
	want := o.List(Filter{})
	db.Close()

	p := &script{name: "own", caps: testCaps()}
	o = newOutbox(t, openDB(t, path), p)
	if diff := cmp.Diff(want, o.List(Filter{}), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Fatalf("after a restart: %s", diff)
	}
	run(t, o)
	entries, err := o.Wait(t.Context(), ids[1])
	if err != nil || entries[0].State != StateAccepted || entries[0].Attempts != 2 {
		t.Fatalf("resent: %+v %v", entries, err)
	}
	if len(p.sent()) != 1 {
		t.Errorf("%d requests, only the item in doubt may be sent again", len(p.sent()))
	}
}

// Two transactions per call, whatever the size of the batch.
func TestOneTransactionPerTransition(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	caps := testCaps()
	caps.Kinds[Key] = Limits{Batch: 256}
	o := newOutbox(t, db, &script{name: "own", caps: caps})
	var items []Item
	for i := range 250 {
		items = append(items, keyItem("k"+strings.Repeat("x", i)))
	}
	before := transactions(t, db)
	ids := submit(t, o, items...)
	stop := run(t, o)
	if _, err := o.Wait(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	stop()
	if n := transactions(t, db) - before; n != 3+1 { // submit, sent, accepted, and the one that counts
		t.Errorf("%d transactions for 250 items", n-1)
	}
}

func transactions(t *testing.T, db *bbolt.DB) (id int) {
	t.Helper()
	if err := db.Update(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSubmitRefuses(t *testing.T) {
	o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), &script{name: "own", caps: testCaps()})
	o.maxItems = 2
	for name, test := range map[string]struct {
		edit func(*Item)
		want string
	}{
		"provider": {func(i *Item) { i.Provider = "akamai" }, `items[1]: provider "akamai" is not configured`},
		"scope":    {func(i *Item) { i.Scope = "a/b" }, `items[1]: scope "a/b" must be`},
		"app":      {func(i *Item) { i.App = "waf\n\x1b[2J" }, `items[1]: app "waf\n\x1b[2J" must be`},
		"long app": {func(i *Item) { i.App = strings.Repeat("a", 65) }, "must be at most 64"},
		"region":   {func(i *Item) { i.Region = "eu west" }, `items[1]: region "eu west" must be`},
		"kind":     {func(i *Item) { i.Selector = Selector{Host, "www.example.com"} }, "cannot purge by host"},
		"selector": {func(i *Item) { i.Selector.Value = "a b" }, "key contains a space"},
		"soft":     {func(i *Item) { i.Selector, i.Soft = Selector{Kind: All}, true }, "no soft purge"},
		"round":    {func(i *Item) { i.Round = 0 }, "round is 0"},
		"gap":      {func(i *Item) { i.Gap = -1 }, "gap is negative"},
		"after":    {func(i *Item) { i.After = "nothing" }, "no such item"},
	} {
		bad := keyItem("b")
		test.edit(&bad)
		_, err := o.Submit(t.Context(), []Item{keyItem("a"), bad})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	if n := len(o.List(Filter{})); n != 0 {
		t.Errorf("%d items stored", n)
	}
	if _, err := o.Submit(t.Context(), []Item{keyItem("a"), keyItem("b"), keyItem("c")}); !errors.Is(err, ErrFull) {
		t.Errorf("three into two: %v", err)
	}
}

func TestProviderRemovedFromTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	ids := submit(t, newOutbox(t, db, &script{name: "own", caps: testCaps()}), keyItem("a"))
	db.Close()
	o := newOutbox(t, openDB(t, path), &script{name: "other", caps: testCaps()})
	run(t, o)
	entries, err := o.Wait(t.Context(), ids...)
	if err != nil || entries[0].State != StateRefused || entries[0].Reason != "provider own is not configured" {
		t.Errorf("%+v %v", entries, err)
	}
}

// verdict is a Verifier that answers as told.
type verdict []Evidence

func (v verdict) Verify(context.Context, Want) ([]Evidence, error) { return v, nil }

func TestVerify(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *Outbox, _ *script) {
		item := keyItem("a")
		item.NotBefore = time.Now().Add(time.Minute)
		ids := submit(t, o, item)
		want := Want{Region: "eu-west", Epoch: 17}
		fresh := Evidence{Vantage: "lab", Seen: "eu-west-17", Wanted: "eu-west-17", Fresh: true}
		stale := Evidence{Vantage: "lab", Seen: "eu-west-16", Wanted: "eu-west-17"}
		if _, err := o.Verify(t.Context(), verdict{fresh}, want, ids...); !errors.Is(err, ErrNotReady) {
			t.Errorf("before acceptance: %v", err)
		}
		if _, err := o.Wait(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Verify(t.Context(), verdict{fresh, stale}, want, ids...); !errors.Is(err, ErrStale) {
			t.Errorf("stale: %v", err)
		}
		// A place that does not answer is no news of stale content, nor does it outweigh some.
		gone := Evidence{Vantage: "far", Seen: "no answer: refused", Wanted: "eu-west-17", Unseen: true}
		if _, err := o.Verify(t.Context(), verdict{fresh, gone}, want, ids...); !errors.Is(err, ErrUnseen) || errors.Is(err, ErrStale) ||
			!strings.Contains(err.Error(), "far could not be looked at: no answer: refused") {
			t.Errorf("unreachable: %v", err)
		}
		if _, err := o.Verify(t.Context(), verdict{gone, stale}, want, ids...); !errors.Is(err, ErrStale) {
			t.Errorf("stale beside unreachable: %v", err)
		}
		if _, err := o.Verify(t.Context(), verdict{}, want, ids...); err == nil {
			t.Error("no evidence was taken as proof")
		}
		if e, _ := o.Get(ids[0]); e.State != StateAccepted {
			t.Errorf("item is %s", e.State)
		}
		if _, err := o.Verify(t.Context(), verdict{fresh}, want, ids...); err != nil {
			t.Error(err)
		}
		if e, _ := o.Get(ids[0]); e.State != StateVerified || len(e.Evidence) != 1 {
			t.Errorf("item is %+v", e)
		}
	})
}

func TestPrune(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *Outbox, p *script) {
		old, current, pending := keyItem("a"), keyItem("a"), keyItem("b")
		old.Epoch, pending.Epoch = 3, 3
		pending.NotBefore = time.Now().Add(time.Hour)
		follower := pending
		follower.Round, follower.After = 2, old.ID()
		ids := submit(t, o, old, current, pending, follower)
		if _, err := o.Wait(t.Context(), ids[0], ids[1]); err != nil {
			t.Fatal(err)
		}
		if n, err := o.Prune("waf", "eu-west", 17); n != 0 || err != nil {
			t.Errorf("pruned %d while a follower waits, %v", n, err)
		}
		if _, err := o.Wait(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		if n, err := o.Prune("waf", "eu-west", 17); n != 3 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if _, ok := o.Get(ids[1]); !ok {
			t.Error("the current epoch was pruned")
		}
	})
}

func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []State
		o, err := NewOutbox(OutboxConfig{
			DB:       openDB(t, filepath.Join(t.TempDir(), "db")),
			Purgers:  []Purger{&script{name: "own", caps: testCaps()}},
			OnChange: func(e Entry) { seen = append(seen, e.State) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ids := submit(t, o, keyItem("a"))
		run(t, o)
		if _, err := o.Wait(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]State{StateIntended, StateSent, StateAccepted}, seen); diff != "" {
			t.Error(diff)
		}
		if err := o.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("second Run: %v", err)
		}
	})
}

// A record of a newer Ebbgate is no damage: passing over all of them would lose every purge.
func TestRecordOfAnotherVersionIsAnError(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	put(t, db, "x", "\x02{}")
	if _, err := NewOutbox(OutboxConfig{DB: db, Purgers: []Purger{&script{name: "own"}}}); !errors.Is(err, errVersion) {
		t.Errorf("error %v", err)
	}
}

// A damaged record keeps back no other one. It is told, and written anew when what it was
// about is submitted again.
func TestDamagedRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	ids := submit(t, newOutbox(t, db, &script{name: "own", caps: testCaps()}), keyItem("a"), keyItem("b"))
	for _, damage := range []string{"", "\x01{\"id\":", "\x01{}", "\x01" + strings.Repeat("\x00", 100)} {
		put(t, db, string(ids[0]), damage)
		var log bytes.Buffer
		p := &script{name: "own", caps: testCaps()}
		o, err := NewOutbox(OutboxConfig{DB: db, Purgers: []Purger{p}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatalf("%q: %v", damage, err)
		}
		if _, ok := o.Get(ids[1]); !ok || len(o.List(Filter{})) != 1 {
			t.Errorf("%q: %d entries", damage, len(o.List(Filter{})))
		}
		if n := strings.Count(log.String(), string(ids[0])); n != 1 {
			t.Errorf("%q: told %d times: %s", damage, n, log.String())
		}
		again := submit(t, o, keyItem("a"))
		stop := run(t, o)
		if _, err := o.Wait(t.Context(), again...); err != nil {
			t.Fatal(err)
		}
		stop()
		if e, _ := newOutbox(t, db, p).Get(ids[0]); e.State != StateAccepted {
			t.Errorf("%q: submitted again and %q", damage, e.State)
		}
	}
}

func put(t *testing.T, db *bbolt.DB, id, record string) {
	t.Helper()
	err := db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("cdn-outbox"))
		if err != nil {
			return err
		}
		return b.Put([]byte(id), []byte(record))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzRecord(f *testing.F) {
	e := Entry{ID: keyItem("a").ID(), Item: keyItem("a"), State: StateSent}
	data, err := encodeEntry(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(e.ID), data)
	f.Add("x", []byte{1, '{', '}'})
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		e, err := decodeEntry(ID(id), data)
		if err != nil {
			return
		}
		again, err := encodeEntry(e)
		if err != nil {
			t.Fatalf("decoded but not encodable: %v", err)
		}
		if _, err := decodeEntry(ID(id), again); err != nil {
			t.Fatalf("round trip: %v", err)
		}
	})
}

func TestOutboxConfig(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	lossy := openDB(t, filepath.Join(t.TempDir(), "db"))
	lossy.NoSync = true
	one := []Purger{&script{name: "own"}}
	for want, c := range map[string]OutboxConfig{
		"DB is required":          {Purgers: one},
		"NoSync":                  {DB: lossy, Purgers: one},
		"Purgers is empty":        {DB: db},
		"empty or used twice":     {DB: db, Purgers: []Purger{one[0], one[0]}},
		"a limit is negative":     {DB: db, Purgers: one, MaxItems: -1},
		`name "" is empty or use`: {DB: db, Purgers: []Purger{&script{}}},
	} {
		if _, err := NewOutbox(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
