package cdn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// Errors of an Outbox.
var (
	ErrFull     = errors.New("outbox is full")
	ErrNoItem   = errors.New("no such item in the outbox")
	ErrRunning  = errors.New("outbox is already running")
	ErrNotReady = errors.New("item is not accepted yet")
	ErrStale    = errors.New("stale content is still served")
	ErrUnseen   = errors.New("nothing is known of what is served")
)

// OutboxConfig of NewOutbox.
type OutboxConfig struct {
	DB         *bbolt.DB     // required; not opened with NoSync; the caller closes it after Run has returned
	Bucket     string        // default "cdn-outbox"; nothing else may write there
	Purgers    []Purger      // required, names distinct
	MaxItems   int           // refuse Submit beyond this; default 100,000
	MinBackoff time.Duration // before the first repetition; default 1 s
	MaxBackoff time.Duration // longest without Retry-After; default 1 min

	Log *slog.Logger // told of records that cannot be read; default slog.Default()

	// OnChange, if set, is called with every new state once it is durable. It
	// may be called from several goroutines and must not block for long. Two
	// changes of one item may arrive out of order when Cancel or Retry meets
	// a running attempt; Get has the truth.
	OnChange func(Entry)
}

// Outbox sends purges that were decided, however often the process dies in
// between. Decisions are durable when Submit returns; Run sends them until the
// provider has accepted or refused them. Delivery is at least once: a purge
// may be repeated, never lost.
//
// Each state change of a whole batch is one transaction, and so one fsync: two
// per call to a provider. All entries are also kept in memory.
type Outbox struct {
	db       *bbolt.DB
	bucket   []byte
	purgers  map[string]Purger // name → purger
	maxItems int
	backoff  backoff
	onChange func(Entry)

	mu      sync.Mutex           // guards what follows, and the order of transactions
	entries map[ID]Entry         // id → state as on disk
	open    map[ID]bool          // ids of the entries that Run has to send
	changed chan struct{}        // closed and replaced at every change
	running bool                 // inside Run
	paused  map[string]time.Time // provider → rate-limited until
}

// NewOutbox loads what the database holds. A record that is damaged is logged and passed
// over; one of a newer version is an error.
func NewOutbox(c OutboxConfig) (*Outbox, error) {
	switch {
	case c.DB == nil:
		return nil, errors.New("outbox config: DB is required")
	case c.DB.NoSync:
		return nil, errors.New("outbox config: DB has NoSync set, nothing would be durable")
	case len(c.Purgers) == 0:
		return nil, errors.New("outbox config: Purgers is empty")
	case c.MinBackoff < 0 || c.MaxBackoff < 0 || c.MaxItems < 0:
		return nil, errors.New("outbox config: a limit is negative")
	}
	if c.Bucket == "" {
		c.Bucket = "cdn-outbox"
	}
	if c.MaxItems == 0 {
		c.MaxItems = 100_000
	}
	if c.MinBackoff == 0 {
		c.MinBackoff = time.Second
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = max(time.Minute, c.MinBackoff)
	}
	o := &Outbox{
		db: c.DB, bucket: []byte(c.Bucket), purgers: map[string]Purger{}, maxItems: c.MaxItems,
		backoff: backoff{c.MinBackoff, c.MaxBackoff}, onChange: c.OnChange,
		entries: map[ID]Entry{}, open: map[ID]bool{}, changed: make(chan struct{}), paused: map[string]time.Time{},
	}
	for _, p := range c.Purgers {
		if _, twice := o.purgers[p.Name()]; twice || p.Name() == "" {
			return nil, fmt.Errorf("outbox config: purger name %q is empty or used twice", p.Name())
		}
		o.purgers[p.Name()] = p
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if err := o.load(c.Log); err != nil {
		return nil, err
	}
	return o, nil
}

// Submit makes items durable in one transaction and returns their ids in
// order. Items that are known already, in whatever state, are left as they
// are. Nothing is stored if one of them is invalid.
func (o *Outbox) Submit(ctx context.Context, items []Item) ([]ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids := make([]ID, len(items))
	fresh := map[ID]Entry{}
	o.mu.Lock()
	for n, item := range items {
		ids[n] = item.ID()
		if _, known := o.entries[ids[n]]; known {
			continue
		}
		if err := o.check(item, fresh); err != nil {
			o.mu.Unlock()
			return nil, fmt.Errorf("cannot submit items[%d]: %w", n, err)
		}
		fresh[ids[n]] = Entry{ID: ids[n], Item: item, State: StateIntended, DueAt: item.NotBefore}
	}
	if len(o.entries)+len(fresh) > o.maxItems {
		o.mu.Unlock()
		return nil, fmt.Errorf("cannot submit %d items: %w with %d, prune old epochs", len(fresh), ErrFull, len(o.entries))
	}
	return ids, o.storeAndUnlock(slices.Collect(maps.Values(fresh)))
}

// check wants After to name an earlier item, so that no cycle can form.
func (o *Outbox) check(item Item, fresh map[ID]Entry) error {
	purger, ok := o.purgers[item.Provider]
	if !ok {
		return fmt.Errorf("provider %q is not configured", item.Provider)
	}
	if err := ValidateScope(item.Scope); err != nil {
		return fmt.Errorf("scope %w", err)
	}
	for _, n := range [][2]string{{"app", item.App}, {"region", item.Region}} { // they end up in tables and logs
		if len(n[1]) > 64 || strings.ContainsFunc(n[1], foreign) {
			return fmt.Errorf("%s %.80q must be at most 64 letters, digits, - or _", n[0], n[1])
		}
	}
	if item.Selector.Kind == Fence {
		if _, can := purger.(Fencer); !can {
			return fmt.Errorf("provider %q: %w", item.Provider, ErrNoFence)
		}
		if err := ValidateFence(item.Scope, item.Selector.Value, item.Epoch); err != nil {
			return err
		}
	} else if err := purger.Capabilities().Check(item.Selector, item.Soft); err != nil {
		return err
	}
	if item.Round < 1 {
		return fmt.Errorf("round is %d, the first is 1", item.Round)
	}
	if item.Gap < 0 {
		return errors.New("gap is negative")
	}
	if _, known := o.entries[item.After]; item.After != "" && !known {
		if _, known := fresh[item.After]; !known {
			return fmt.Errorf("after %s: %w", item.After, ErrNoItem)
		}
	}
	return nil
}

// Get returns one entry.
func (o *Outbox) Get(id ID) (Entry, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.entries[id]
	return o.shown(e, time.Now()), ok
}

// shown is called with o.mu held.
func (o *Outbox) shown(e Entry, now time.Time) Entry {
	if until := o.paused[e.Item.Provider]; e.State == StateIntended && until.After(now) {
		e.PausedUntil = until
	}
	return e
}

// Filter selects entries; zero fields match everything.
type Filter struct {
	Provider, Scope, App, Region string
	Epoch                        uint64
	States                       []State
}

func (f Filter) match(e Entry) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.Provider, e.Item.Provider) && is(f.Scope, e.Item.Scope) && is(f.App, e.Item.App) &&
		is(f.Region, e.Item.Region) && (f.Epoch == 0 || f.Epoch == e.Item.Epoch) &&
		(len(f.States) == 0 || slices.Contains(f.States, e.State))
}

// List returns matching entries, ordered by app, region, epoch, provider,
// scope, round and selector.
func (o *Outbox) List(f Filter) []Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Entry
	now := time.Now()
	for _, e := range o.entries {
		if f.match(e) {
			out = append(out, o.shown(e, now))
		}
	}
	slices.SortFunc(out, compareEntries)
	return out
}

// Wait returns the entries, in the order of ids, as soon as none of them is
// open: each is accepted, verified or refused. The error is ErrNoItem or
// ctx's.
func (o *Outbox) Wait(ctx context.Context, ids ...ID) ([]Entry, error) {
	for {
		o.mu.Lock()
		out, open := make([]Entry, len(ids)), false
		for i, id := range ids {
			e, ok := o.entries[id]
			if !ok {
				o.mu.Unlock()
				return nil, fmt.Errorf("cannot wait for %s: %w", id, ErrNoItem)
			}
			out[i], open = e, open || e.Open()
		}
		changed := o.changed
		o.mu.Unlock()
		if !open {
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
}

// Cancel stops further attempts of open items; they become refused with the
// reason. An attempt that is under way may still have its effect.
func (o *Outbox) Cancel(ctx context.Context, reason string, ids ...ID) error {
	return o.change(ctx, ids, func(e *Entry) error {
		if e.Open() {
			e.State, e.Reason = StateRefused, "cancelled: "+reason
		}
		return nil
	})
}

// Retry sends refused items again, after a person has changed something such
// as a token. An item that was refused because the one it follows was refused
// has to be named too.
func (o *Outbox) Retry(ctx context.Context, ids ...ID) error {
	return o.change(ctx, ids, func(e *Entry) error {
		if e.State == StateRefused {
			e.State, e.Reason, e.DueAt, e.Split = StateIntended, "", time.Time{}, 0
		}
		return nil
	})
}

// Verify asks v whether the purge of the given items worked, and if every
// piece of evidence is fresh makes them verified: each by what was seen through
// its target and, where that proves nothing, by the provider's word, which the evidence
// then says. A zero want.PurgedAt becomes
// the time the last of them was accepted. The error wraps ErrNotReady before
// all are accepted, ErrStale when the purge has to be repeated (submit the next
// round and verify again), and ErrUnseen when no place shows stale content, but
// one could not be looked at. Without items v is asked all the same, about now.
func (o *Outbox) Verify(ctx context.Context, v Verifier, want Want, ids ...ID) ([]Evidence, error) {
	accepted, entries := time.Time{}, make([]Entry, 0, len(ids))
	if len(ids) == 0 {
		accepted = time.Now()
	}
	for _, id := range ids {
		e, ok := o.Get(id)
		if !ok {
			return nil, fmt.Errorf("cannot verify %s: %w", id, ErrNoItem)
		}
		if e.State != StateAccepted && e.State != StateVerified {
			return nil, fmt.Errorf("cannot verify %s: %w, it is %s", id, ErrNotReady, e.State)
		}
		entries = append(entries, e)
		if e.AcceptedAt.After(accepted) {
			accepted = e.AcceptedAt
		}
	}
	if want.PurgedAt.IsZero() {
		want.PurgedAt = accepted
	}
	evidence, err := v.Verify(ctx, want)
	if err != nil {
		return evidence, err
	}
	if len(evidence) == 0 {
		return nil, fmt.Errorf("cannot verify %s-%d: no evidence", want.Region, want.Epoch)
	}
	unseen := error(nil)
	for _, e := range evidence {
		switch {
		case e.Fresh, e.NotPurged:
		case !e.Unseen:
			return evidence, fmt.Errorf("%w: %s", ErrStale, e)
		case unseen == nil:
			unseen = fmt.Errorf("%w: %s", ErrUnseen, e)
		}
	}
	if unseen != nil {
		return evidence, unseen
	}
	own, evidence := proofs(evidence, want, entries)
	return evidence, o.change(ctx, ids, func(e *Entry) error {
		if e.State == StateAccepted {
			e.State, e.VerifiedAt, e.Evidence = StateVerified, time.Now(), own[e.ID]
		}
		return nil
	})
}

func compareEntries(a, b Entry) int {
	x, y := a.Item, b.Item
	return cmp.Or(
		strings.Compare(x.App, y.App), strings.Compare(x.Region, y.Region), cmp.Compare(x.Epoch, y.Epoch),
		strings.Compare(x.Provider, y.Provider), strings.Compare(x.Scope, y.Scope), cmp.Compare(x.Round, y.Round),
		x.Selector.Compare(y.Selector), cmp.Compare(a.ID, b.ID))
}
