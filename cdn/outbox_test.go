package cdn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSubmitIsIdempotent(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *Outbox, p *script) {
		ids := submit(t, o, keyItem("a"), keyItem("a"), keyItem("b"))
		if ids[0] != ids[1] || ids[0] == ids[2] {
			t.Errorf("ids %v", ids)
		}
		entries, err := o.Wait(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		if entries[0].PurgeID != "id-a" || entries[0].Attempts != 1 || entries[0].State != StateAccepted {
			t.Errorf("entry %+v", entries[0])
		}
		again := submit(t, o, keyItem("a"), keyItem("b"))
		synctest.Wait()
		if diff := cmp.Diff([]ID{ids[0], ids[2]}, again); diff != "" || len(p.sent()) != 1 {
			t.Errorf("%d requests, ids %s", len(p.sent()), diff)
		}
	})
}

func TestIDDependsOnEveryField(t *testing.T) {
	base := keyItem("a")
	seen := map[ID]string{base.ID(): "base"}
	for name, edit := range map[string]func(*Item){
		"provider": func(i *Item) { i.Provider = "x" },
		"scope":    func(i *Item) { i.Scope = "x" },
		"app":      func(i *Item) { i.App, i.Region = "wafeu", "-west" },
		"region":   func(i *Item) { i.Region = "x" },
		"epoch":    func(i *Item) { i.Epoch = 18 },
		"selector": func(i *Item) { i.Selector.Kind = Host },
		"round":    func(i *Item) { i.Round = 2 },
	} {
		item := base
		edit(&item)
		if other, twice := seen[item.ID()]; twice {
			t.Errorf("%s and %s have the same id", name, other)
		}
		seen[item.ID()] = name
	}
	// Another id would purge everything again after an upgrade.
	if got := base.ID(); got != "639b8eb47af915323a96cdb14fcc2738" {
		t.Errorf("id %s", got)
	}
}

func TestBatching(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *Outbox, p *script) {
		var items []Item
		for i := range 9 {
			items = append(items, keyItem(fmt.Sprint("k", i)))
		}
		same := keyItem("k0") // another app, same selector: travels for free
		same.App = "flags"
		soft := keyItem("soft")
		soft.Soft = true
		elsewhere := keyItem("k0")
		elsewhere.Scope = "other"
		url := keyItem("")
		url.Selector = Selector{URL, "https://www.example.com/a"}
		items = append(items, same, soft, elsewhere, url)
		entries, err := o.Wait(t.Context(), submit(t, o, items...)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.State != StateAccepted {
				t.Errorf("%s is %s", e.Item.Selector, e.State)
			}
		}
		count := map[string]int{}
		for _, r := range p.sent() {
			if err := p.caps.Validate(r); err != nil {
				t.Error(err)
			}
			count[fmt.Sprint(r.Scope, r.Selectors[0].Kind, r.Soft)]++
		}
		want := map[string]int{"svckeyfalse": 3, "svckeytrue": 1, "otherkeyfalse": 1, "svcurlfalse": 1}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Error(diff)
		}
	})
}

// The batch limit counts selectors, not entries: items of several apps with the
// same selectors share one call. The byte limit counts too.
func TestPick(t *testing.T) {
	var ready []Entry
	for _, app := range []string{"flags", "waf"} {
		for i := range 4 {
			item := keyItem(fmt.Sprint("k", i))
			item.App = app
			ready = append(ready, Entry{ID: item.ID(), Item: item})
		}
	}
	caps := Capabilities{Kinds: map[Kind]Limits{Key: {Batch: 4}}}
	if n := len(pick(caps, ready)); n != 8 {
		t.Errorf("%d entries share a call of 4 selectors, want 8", n)
	}
	caps.Kinds[Key] = Limits{Batch: 4, Bytes: 7}
	if n := len(pick(caps, ready)); n != 4 {
		t.Errorf("%d entries share a call of 7 bytes, want 4", n)
	}
	for i := range ready {
		ready[i].Split = 2
	}
	if n := len(pick(caps, ready)); n != 2 {
		t.Errorf("%d entries share a call after two refusals, want 2", n)
	}
}

func TestRetries(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		between State // after the failure
	}{
		"retryable":   {fail(Retryable), StateIntended},
		"unknown":     {fail(Unknown), StateSent},
		"not ours":    {errors.New("what?"), StateSent},
		"no receipt":  {nil, StateSent},
		"rate limits": {&Error{Class: RateLimited, RetryAfter: 100 * time.Second}, StateIntended},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(_ context.Context, n int, r Request) (Receipt, error) {
				if n <= 5 {
					return Receipt{}, test.err
				}
				return accept(r), nil
			}
			bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
				ids := submit(t, o, keyItem("a"))
				synctest.Wait()
				if e, _ := o.Get(ids[0]); e.State != test.between || e.LastError == "" {
					t.Errorf("after a failure %s %q, want %s", e.State, e.LastError, test.between)
				}
				entries, err := o.Wait(t.Context(), ids...)
				if err != nil {
					t.Fatal(err)
				}
				if e := entries[0]; e.State != StateAccepted || e.Attempts != 6 || e.LastError != "" {
					t.Errorf("entry %+v", e)
				}
				for i := 1; i < len(p.at); i++ {
					wait, most := p.at[i].Sub(p.at[i-1]), time.Second<<(i-1)
					least := most / 2
					if strings.HasPrefix(name, "rate") {
						least, most = 100*time.Second, 110*time.Second
					}
					if wait < least || wait > most {
						t.Errorf("attempt %d after %s, want %s to %s", i+1, wait, least, most)
					}
				}
			})
		})
	}
}

func must(e Entry, found bool) Entry {
	if !found {
		panic("no such entry")
	}
	return e
}

// A rate limit belongs to the account, so the other scopes wait too.
func TestRateLimitPausesTheAccount(t *testing.T) {
	answer := func(_ context.Context, n int, r Request) (Receipt, error) {
		if n == 1 {
			return Receipt{}, &Error{Class: RateLimited, RetryAfter: time.Minute}
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		begin := time.Now()
		submit(t, o, keyItem("a"))
		synctest.Wait()
		other := keyItem("b")
		other.Scope = "other"
		ids := submit(t, o, other)
		synctest.Wait()
		for _, e := range append(o.List(Filter{Scope: "other"}), must(o.Get(ids[0]))) {
			if wait := e.PausedUntil.Sub(begin); e.State != StateIntended || e.LastError != "" || wait < time.Minute || wait > 2*time.Minute {
				t.Errorf("meanwhile %s, %q, paused for %s", e.State, e.LastError, wait)
			}
		}
		if _, err := o.Wait(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited < time.Minute {
			t.Errorf("the other scope was sent after %s", waited)
		}
		if e, _ := o.Get(ids[0]); !e.PausedUntil.IsZero() {
			t.Errorf("%s and still paused until %s", e.State, e.PausedUntil)
		}
	})
}

func TestRefusedSelectorDoesNotTakeOthersWithIt(t *testing.T) {
	answer := func(_ context.Context, _ int, r Request) (Receipt, error) {
		for _, s := range r.Selectors {
			if s.Value == "bad" {
				return Receipt{}, fail(Refused)
			}
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		entries, err := o.Wait(t.Context(), submit(t, o, keyItem("a"), keyItem("bad"), keyItem("c"), keyItem("d"))...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]State{StateAccepted, StateRefused, StateAccepted, StateAccepted}, states(entries)); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(entries[1].Reason, "told to") {
			t.Errorf("reason %q", entries[1].Reason)
		}
	})
}

func TestPartialReceipt(t *testing.T) {
	answer := func(_ context.Context, n int, r Request) (Receipt, error) {
		if n == 1 {
			return accept(Request{Selectors: r.Selectors[:1]}), fail(Unknown)
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		if _, err := o.Wait(t.Context(), submit(t, o, keyItem("a"), keyItem("b"))...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Selector{{Key, "b"}}, p.sent()[1].Selectors); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAuthIsTerminalUntilRetried(t *testing.T) {
	answer := func(_ context.Context, n int, r Request) (Receipt, error) {
		if n == 1 {
			return Receipt{}, fail(Auth)
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		items := Rounds(p.caps, keyItem(""), []Selector{{Key, "a"}}, 0)
		ids := submit(t, o, items...)
		entries, err := o.Wait(t.Context(), ids...)
		if err != nil || entries[0].State != StateRefused || entries[1].State != StateRefused {
			t.Fatalf("%v %v", states(entries), err)
		}
		if err := o.Retry(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		if entries, err = o.Wait(t.Context(), ids...); err != nil || entries[1].State != StateAccepted {
			t.Errorf("%v %v", states(entries), err)
		}
	})
}

func TestSecondRoundWaitsForTheGap(t *testing.T) {
	answer := func(_ context.Context, n int, r Request) (Receipt, error) {
		if n < 3 {
			return Receipt{}, fail(Retryable) // the gap counts from acceptance
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		items := Rounds(p.caps, keyItem(""), []Selector{{Key, "a"}}, 5*time.Second)
		if len(items) != 2 {
			t.Fatalf("%d items", len(items))
		}
		entries, err := o.Wait(t.Context(), submit(t, o, items...)...)
		if err != nil {
			t.Fatal(err)
		}
		if gap := entries[1].SentAt.Sub(entries[0].AcceptedAt); gap != 5*time.Second {
			t.Errorf("second purge %s after the first", gap)
		}
	})
}

func TestNotBefore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *Outbox, p *script) {
		item := keyItem("a")
		item.NotBefore = time.Now().Add(3 * time.Hour)
		entries, err := o.Wait(t.Context(), submit(t, o, item)...)
		if err != nil || !entries[0].SentAt.Equal(item.NotBefore) {
			t.Errorf("sent at %s, want %s, %v", entries[0].SentAt, item.NotBefore, err)
		}
	})
}

// What follows no activation waits for what does, in all scopes of the account, however much of
// it came before.
func TestActivationsGoFirst(t *testing.T) {
	answer := func(_ context.Context, _ int, r Request) (Receipt, error) {
		time.Sleep(time.Second)
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		var manual []Item
		for i := range 40 {
			item := keyItem(fmt.Sprint("manual", i))
			item.App, item.Epoch = "", 0
			if i%2 == 1 {
				item.Scope = "other"
			}
			manual = append(manual, item)
		}
		ids := submit(t, o, manual...)
		synctest.Wait() // both scopes have a call under way
		urgent := make([]Item, 8)
		for i := range urgent {
			urgent[i] = keyItem(fmt.Sprint("urgent", i))
		}
		begin := time.Now()
		if _, err := o.Wait(t.Context(), submit(t, o, urgent...)...); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("two batches behind one that was under way took %s", took)
		}
		for i, r := range p.sent()[2:4] { // behind the two that were under way
			if names := fmt.Sprint(r.Selectors); strings.Contains(names, "manual") {
				t.Errorf("call %d was of %s", i+3, names)
			}
		}
		if _, err := o.Wait(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSlowScopeHoldsUpNoOther(t *testing.T) {
	answer := func(ctx context.Context, _ int, r Request) (Receipt, error) {
		if r.Scope == "slow" {
			<-ctx.Done()
			return Receipt{}, &Error{Class: Unknown, Err: ctx.Err()}
		}
		return accept(r), nil
	}
	bubble(t, answer, func(t *testing.T, o *Outbox, p *script) {
		slow := keyItem("a")
		slow.Scope = "slow"
		stuck := submit(t, o, slow)
		synctest.Wait()
		if _, err := o.Wait(t.Context(), submit(t, o, keyItem("b"))...); err != nil {
			t.Fatal(err)
		}
		if err := o.Cancel(t.Context(), "rolled back", stuck...); err != nil {
			t.Fatal(err)
		}
		if e, _ := o.Get(stuck[0]); e.State != StateRefused || e.Reason != "cancelled: rolled back" {
			t.Errorf("%s %q", e.State, e.Reason)
		}
	})
}

func TestCancelDuringACallIsKept(t *testing.T) {
	release := make(chan struct{})
	answer := func(_ context.Context, _ int, r Request) (Receipt, error) {
		<-release
		return accept(r), nil
	}
	p := &script{name: "own", caps: testCaps(), answer: answer}
	o := newOutbox(t, openDB(t, filepath.Join(t.TempDir(), "db")), p)
	run(t, o)
	ids := submit(t, o, keyItem("a"))
	eventually(t, o, ids[0], StateSent)
	if err := o.Cancel(t.Context(), "enough", ids...); err != nil {
		t.Fatal(err)
	}
	close(release)
	other := submit(t, o, keyItem("b")) // same lane: sent after the first call was settled
	if _, err := o.Wait(t.Context(), other...); err != nil {
		t.Fatal(err)
	}
	if e, _ := o.Get(ids[0]); e.State != StateRefused {
		t.Errorf("a cancelled item is %s", e.State)
	}
}
