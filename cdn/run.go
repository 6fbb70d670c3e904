package cdn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// lane is what is sent one call after the other. Lanes run side by side, so
// that a scope which is slow or failing holds up no other. Fences have a lane for each
// name: one takes as long as it spreads, and nothing else there waits for that.
type lane struct{ provider, scope, fence string }

func laneOf(i Item) lane {
	l := lane{provider: i.Provider, scope: i.Scope}
	if i.Selector.Kind == Fence {
		l.fence = i.Selector.Value
	}
	return l
}

// Run sends what is due until ctx ends, and then returns nil when every call
// under way has ended. Any other return is an error of the database, after
// which nothing may be assumed durable: exit and start again.
func (o *Outbox) Run(ctx context.Context) error {
	o.mu.Lock()
	if o.running {
		o.mu.Unlock()
		return ErrRunning
	}
	o.running = true
	o.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	busy := map[lane]bool{}
	finished := make(chan lane)
	failed := make(chan error, 1)
	defer func() {
		cancel()
		drained := make(chan struct{})
		go func() { wg.Wait(); close(drained) }()
		for {
			select {
			case <-finished:
			case <-drained:
				o.mu.Lock()
				o.running = false
				o.mu.Unlock()
				return
			}
		}
	}()
	for ctx.Err() == nil {
		batches, wake, changed, err := o.due(busy, time.Now())
		if err != nil {
			return err
		}
		for _, batch := range batches {
			at := laneOf(batch[0].Item)
			busy[at] = true
			wg.Go(func() {
				if err := o.attempt(ctx, batch); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				finished <- at
			})
		}
		timer := time.NewTimer(time.Until(wake))
		if wake.IsZero() {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case err := <-failed:
			timer.Stop()
			return err
		case at := <-finished:
			delete(busy, at)
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// due returns one batch for each idle lane that has something to send, and
// when to look again if nothing changes. What follows no activation waits while
// anything of the account that does is due or being sent. Items that can never be
// sent are refused on the way.
func (o *Outbox) due(busy map[lane]bool, now time.Time) (batches [][]Entry, wake time.Time, changed <-chan struct{}, err error) {
	o.mu.Lock()
	ready := map[lane][]Entry{}
	urgent := map[string]bool{} // provider → something that follows an activation is due
	var hopeless []Entry
	for id := range o.open {
		e := o.entries[id]
		at, reason := o.dueAt(e)
		if reason != "" {
			e.State, e.Reason = StateRefused, reason
			hopeless = append(hopeless, e)
			continue
		}
		if at == never {
			continue // its predecessor's change wakes the loop
		}
		l := laneOf(e.Item)
		if e.Item.Epoch > 0 && !at.After(now) {
			urgent[l.provider] = true // its end wakes the loop
		}
		switch {
		case busy[l]: // its end wakes the loop
		case at.After(now):
			if wake.IsZero() || at.Before(wake) {
				wake = at
			}
		default:
			ready[l] = append(ready[l], e)
		}
	}
	if len(hopeless) > 0 {
		err := o.storeAndUnlock(hopeless)
		if err != nil {
			return nil, time.Time{}, nil, err
		}
		return o.due(busy, now)
	}
	changed = o.changed
	o.mu.Unlock()
	for l, entries := range ready {
		if urgent[l.provider] {
			entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Item.Epoch == 0 })
		}
		if len(entries) == 0 {
			continue
		}
		batches = append(batches, pick(o.purgers[l.provider].Capabilities(), entries))
	}
	return batches, wake, changed, nil
}

// never is later than any time an item can be due.
var never = time.Unix(1<<40, 0)

// dueAt is called with o.mu held. A reason means that the item cannot be sent.
func (o *Outbox) dueAt(e Entry) (at time.Time, reason string) {
	if o.purgers[e.Item.Provider] == nil {
		return never, "provider " + e.Item.Provider + " is not configured"
	}
	at = e.DueAt
	if e.Item.After != "" {
		first, ok := o.entries[e.Item.After]
		switch {
		case !ok:
			return never, "the item it follows is gone"
		case first.State == StateRefused:
			return never, "the item it follows was refused: " + first.Reason
		case first.Open():
			return never, ""
		}
		at = latest(at, first.AcceptedAt.Add(e.Item.Gap))
	}
	return latest(at, o.paused[e.Item.Provider]), ""
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pick takes the item that has waited longest and all that may travel with it.
// Entries with the same selector share its place in the request.
func pick(caps Capabilities, ready []Entry) []Entry {
	slices.SortFunc(ready, func(a, b Entry) int {
		if c := a.DueAt.Compare(b.DueAt); c != 0 {
			return c
		}
		return compareEntries(a, b)
	})
	first := ready[0]
	limits := caps.Kinds[first.Item.Selector.Kind]
	most := max(1, limits.Batch>>first.Split)
	selectors, size := map[Selector]bool{}, 0
	var batch []Entry
	for _, e := range ready {
		s := e.Item.Selector
		if s.Kind != first.Item.Selector.Kind || e.Item.Soft != first.Item.Soft || e.Split != first.Split {
			continue
		}
		if !selectors[s] {
			cost := len(s.Value) + 1
			if len(selectors) == most || limits.Bytes > 0 && len(selectors) > 0 && size+cost > limits.Bytes {
				continue
			}
			selectors[s] = true
			size += cost
		}
		batch = append(batch, e)
	}
	return batch
}

// attempt is one call: durable as sent, sent, durable as whatever came of it.
// The error is the database's.
func (o *Outbox) attempt(ctx context.Context, batch []Entry) error {
	ids := make([]ID, len(batch))
	for i, e := range batch {
		ids[i] = e.ID
	}
	if ctx.Err() != nil {
		return nil // an attempt that cannot succeed would only be counted
	}
	sent, err := o.markSent(ids)
	if err != nil || len(sent) == 0 {
		return err
	}
	var selectors []Selector
	for _, e := range sent {
		selectors = append(selectors, e.Item.Selector)
	}
	selectors = Coalesce(selectors)
	item := sent[0].Item
	purger := o.purgers[item.Provider]
	var receipt Receipt
	var failure error
	if item.Selector.Kind == Fence { // the highest of one name stands for those below it
		highest := slices.MaxFunc(sent, func(a, b Entry) int { return cmp.Compare(a.Item.Epoch, b.Item.Epoch) })
		receipt, failure = raise(ctx, purger, highest.Item)
	} else {
		receipt, failure = purger.Purge(ctx, Request{
			Scope: item.Scope, Selectors: selectors, Soft: item.Soft, ID: intention(sent),
		})
	}
	if failure != nil && ctx.Err() != nil && len(receipt.IDs) == 0 {
		return nil // stays sent, and is sent again by the next Run
	}
	return o.settle(sent, receipt, failure, len(selectors))
}

// raise raises the fence that the item is about. A scope without one is passed over: the
// purges that follow are all there is.
func raise(ctx context.Context, p Purger, item Item) (Receipt, error) {
	fencer, can := p.(Fencer)
	if !can { // the configuration has changed since
		return skipped(item, "the provider has no fence"), nil
	}
	err := fencer.Fence(ctx, item.Scope, item.Selector.Value, item.Epoch)
	if errors.Is(err, ErrNoFence) {
		why := ErrNoFence.Error()
		if e, ok := errors.AsType[*Error](err); ok && e.Message != "" {
			why = e.Message
		}
		return skipped(item, why), nil
	}
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{IDs: map[Selector]string{item.Selector: ""}, AcceptedAt: time.Now()}, nil
}

func skipped(item Item, why string) Receipt {
	return Receipt{IDs: map[Selector]string{item.Selector: ""}, skipped: why}
}

// intention is the same whenever the same entries travel together, after a crash
// too. Entries of another round or epoch make another one.
func intention(batch []Entry) string {
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = string(e.ID)
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:16])
}

// markSent skips what was cancelled since it was picked.
func (o *Outbox) markSent(ids []ID) ([]Entry, error) {
	o.mu.Lock()
	var sent []Entry
	for _, id := range ids {
		if e := o.entries[id]; o.open[id] {
			e.State, e.SentAt = StateSent, time.Now()
			e.Attempts++
			sent = append(sent, e)
		}
	}
	return sent, o.storeAndUnlock(slices.Clone(sent))
}

// settle writes the outcome of a call for each entry of a batch of n selectors.
func (o *Outbox) settle(sent []Entry, receipt Receipt, failure error, n int) error {
	now := time.Now()
	cause := failure
	if cause == nil {
		cause = fmt.Errorf("the receipt of %s lacks the selector", sent[0].Item.Provider)
	}
	due := now.Add(o.wait(sent, cause))
	o.mu.Lock()
	var updates []Entry
	for _, before := range sent {
		e := o.entries[before.ID]
		if e.State != StateSent {
			continue // cancelled during the call
		}
		if id, ok := receipt.IDs[e.Item.Selector]; ok {
			e.State, e.PurgeID, e.AcceptedAt, e.LastError, e.Skipped = StateAccepted, id, receipt.AcceptedAt, "", receipt.skipped
			if e.AcceptedAt.IsZero() {
				e.AcceptedAt = now
			}
			updates = append(updates, e)
			continue
		}
		e.LastError, e.DueAt = cause.Error(), due
		switch class := ClassOf(cause); class {
		case Unknown: // stays sent
		case Retryable, RateLimited:
			e.State = StateIntended
			if class == RateLimited {
				o.paused[e.Item.Provider] = latest(o.paused[e.Item.Provider], e.DueAt)
			}
		case Refused:
			if n > 1 { // one bad selector must not take the others with it
				e.State, e.DueAt = StateIntended, now
				e.Split++
				break
			}
			e.State, e.Reason = StateRefused, cause.Error()
		case Auth, NotFound:
			e.State, e.Reason = StateRefused, cause.Error()
		}
		updates = append(updates, e)
	}
	return o.storeAndUnlock(updates)
}

// wait is the same for the whole batch, so that what failed together is sent
// together again.
func (o *Outbox) wait(sent []Entry, failure error) time.Duration {
	if asked := retryAfter(failure); asked > 0 {
		return asked
	}
	attempts := 0
	for _, e := range sent {
		attempts = max(attempts, e.Attempts)
	}
	return o.backoff.after(attempts)
}

// retryAfter adds up to a tenth, so that those who were told the same time do
// not come back together.
func retryAfter(err error) time.Duration {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.RetryAfter <= 0 {
		return 0
	}
	return e.RetryAfter + rand.N(e.RetryAfter/10+1)
}

type backoff struct{ min, max time.Duration }

// after doubles from min to max and takes off up to half at random.
func (b backoff) after(attempts int) time.Duration {
	wait := b.min
	for i := 1; i < attempts && wait < b.max; i++ {
		wait *= 2
	}
	wait = min(wait, b.max)
	return wait - rand.N(wait/2+1)
}
