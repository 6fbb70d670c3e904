package controller

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// WithTrace returns cfg with a function that is told of every point at which a crash
// matters.
func WithTrace(cfg Config, f func(point string)) Config {
	cfg.trace = f
	return cfg
}

// WithSilence returns cfg with the time after which a silent leader is replaced.
func WithSilence(cfg Config, d time.Duration) Config {
	cfg.silence = d
	return cfg
}

// WithLosses returns cfg with how often the bus is looked through for losses.
func WithLosses(cfg Config, every time.Duration) Config {
	cfg.losses = every
	return cfg
}

// WithDocument returns cfg with the most bytes of a region's signed document.
func WithDocument(cfg Config, n int) Config {
	cfg.document = n
	return cfg
}

// WithRecord returns cfg with the most bytes of a journal record on the bus.
func WithRecord(cfg Config, n int) Config {
	cfg.record = n
	return cfg
}

// Lead waits for the lease and takes it, without leading.
func (c *Controller) Lead(ctx context.Context) error {
	_, err := c.lead(ctx, func(string) {})
	return err
}

// Emit is what tells the readers of events that something happened.
func (c *Controller) Emit(e Event) { c.emit(e) }

// SetLeading makes the controller answer requests, or not.
func (c *Controller) SetLeading(b bool) { c.leading.Store(b) }

// JournalRecord returns the controller's own copy of a record, as it is on the bus.
func (c *Controller) JournalRecord(key string) ([]byte, error) { return c.journal.raw(key) }

// The keys of the journal, and how far back it goes.
var (
	AppKey     = appKey
	AgentKey   = agentKey
	WantKey    = wantKey
	HistoryKey = historyKey
)

const (
	KeptHistory = keptHistory
	KeptBundles = keptBundles
)

// RecordData returns what a journal record on the bus holds.
func RecordData(encoded []byte) (data json.RawMessage, term wire.Fence, err error) {
	var r record
	one := map[string][]byte{"": encoded}
	unpack(one)
	err = json.Unmarshal(one[""], &r)
	return r.Data, r.Fence, err
}

// Keep journals a value under a key.
func (c *Controller) Keep(ctx context.Context, key string, v any) error {
	_, err := inLoop(ctx, c, func() (struct{}, error) { return struct{}{}, c.commit(&write{put: map[string]any{key: v}}) })
	return err
}

// EncodeRecord makes a journal record of another controller as it is on the bus.
func EncodeRecord(term wire.Fence, revision uint64, data string) ([]byte, error) {
	return wire.EncodeJSON(record{Fence: term, Revision: revision, By: "another", Data: json.RawMessage(data)})
}

// WantEnvelope returns the signed document that a journal record of a want holds.
func WantEnvelope(data []byte) ([]byte, error) {
	var w want
	err := json.Unmarshal(data, &w)
	return w.Envelope, err
}

// Readings let readings of gates take turns.
type Readings = readings

// Turn waits for a turn at a source.
func (r *readings) Turn(ctx context.Context, source string) (func(), error) {
	return r.turn(ctx, source)
}

const MaxReadings = maxReadings

// KeepAll keeps the manifests that may be needed, and no others.
func (c *Controller) KeepAll(ctx context.Context) error { return c.keepAll(ctx) }

// Kept reports whether the manifest of a bundle is kept, by its pack's index.
func (c *Controller) Kept(index wire.Digest) (bool, error) {
	all, err := c.kept()
	return all[index], err
}

// Stall keeps the loop busy until resume is called.
func (c *Controller) Stall() (resume func()) {
	wait := make(chan struct{})
	c.requests <- request{run: func() { <-wait }, done: make(chan struct{})}
	return func() { close(wait) }
}

// WithPatience returns cfg with how long a first purge waits for what should be behind it.
func WithPatience(cfg Config, d time.Duration) Config {
	cfg.patience = d
	return cfg
}

// LeaseBeat is how often a leader looks whether it leads.
const LeaseBeat = leaseBeat

// Confirmed says when the bus last said that the lease is the controller's.
func (c *Controller) Confirmed() time.Time { return *c.confirmed.Load() }

// EffectQueue holds effects that wait.
type EffectQueue = effectQueue

// Add adds effects, each once.
func (q *effectQueue) Add(effects ...rollout.Effect) { q.add(effects...) }

// Next takes the first one.
func (q *effectQueue) Next() (rollout.Effect, bool) { return q.next() }

// Following returns how many purges and readings are waited for.
func (c *Controller) Following() (n int) {
	c.following.Range(func(any, any) bool { n++; return true })
	return n
}
