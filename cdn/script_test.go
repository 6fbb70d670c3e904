package cdn

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// script is a Purger that answers as told.
type script struct {
	name string
	caps Capabilities
	// answer is called for each request; nil accepts everything.
	answer func(ctx context.Context, n int, r Request) (Receipt, error)

	mu       sync.Mutex
	requests []Request   // guarded by mu
	at       []time.Time // guarded by mu
}

func (p *script) Name() string               { return p.name }
func (p *script) Capabilities() Capabilities { return p.caps }

func (p *script) Purge(ctx context.Context, r Request) (Receipt, error) {
	p.mu.Lock()
	p.requests = append(p.requests, r)
	p.at = append(p.at, time.Now())
	n := len(p.requests)
	p.mu.Unlock()
	if p.answer == nil {
		return accept(r), nil
	}
	return p.answer(ctx, n, r)
}

func (p *script) sent() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

func accept(r Request) Receipt {
	receipt := Receipt{IDs: map[Selector]string{}, AcceptedAt: time.Now()}
	for _, s := range r.Selectors {
		receipt.IDs[s] = "id-" + s.Value
	}
	return receipt
}

func fail(class Class) error {
	return &Error{Provider: "own", Class: class, Message: "told to"}
}

func testCaps() Capabilities {
	return Capabilities{Kinds: map[Kind]Limits{
		Key: {Batch: 4, Soft: true, Gap: 2 * time.Second},
		URL: {Batch: 1},
		All: {Batch: 1, Gap: 30 * time.Second},
	}}
}

func openDB(t *testing.T, path string) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newOutbox(t *testing.T, db *bbolt.DB, purgers ...Purger) *Outbox {
	t.Helper()
	o, err := NewOutbox(OutboxConfig{DB: db, Purgers: purgers})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// run starts Run and stops it at the end of the test or by the returned function.
func run(t *testing.T, o *Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func keyItem(key string) Item {
	return Item{Provider: "own", Scope: "svc", App: "waf", Region: "eu-west", Epoch: 17, Selector: Selector{Key, key}, Round: 1}
}

func submit(t *testing.T, o *Outbox, items ...Item) []ID {
	t.Helper()
	ids, err := o.Submit(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func states(entries []Entry) (out []State) {
	for _, e := range entries {
		out = append(out, e.State)
	}
	return out
}

// bubble runs a test with an outbox on virtual time.
func bubble(t *testing.T, answer func(ctx context.Context, n int, r Request) (Receipt, error), test func(t *testing.T, o *Outbox, p *script)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &script{name: "own", caps: testCaps(), answer: answer}
		o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), p)
		run(t, o)
		test(t, o, p)
	})
}

func eventually(t *testing.T, o *Outbox, id ID, want State) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		o.mu.Lock()
		changed, state := o.changed, o.entries[id].State
		o.mu.Unlock()
		if state == want {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("item is %s, want %s", state, want)
		}
	}
}
