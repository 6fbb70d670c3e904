package cdn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBatches(t *testing.T) {
	caps := Capabilities{Kinds: map[Kind]Limits{Key: {Batch: 3, Bytes: 10}, URL: {Batch: 1}}}
	got := Batches(caps, []Selector{
		{Key, "a"}, {Key, "b"}, {Key, "c"}, {Key, "d"}, {Key, "a"}, {Key, "eeeeeeeee"}, {Key, "f"},
		{URL, "https://a/"}, {URL, "https://b/"},
	})
	want := [][]Selector{
		{{Key, "a"}, {Key, "b"}, {Key, "c"}}, {{Key, "d"}}, {{Key, "eeeeeeeee"}}, {{Key, "f"}},
		{{URL, "https://a/"}}, {{URL, "https://b/"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, batch := range got {
		if err := caps.Validate(Request{Scope: "svc", Selectors: batch}); err != nil {
			t.Error(err)
		}
	}
}

func TestPurgeSendsNothingWhenOneIsInvalid(t *testing.T) {
	p := &script{name: "own", caps: testCaps()}
	for _, bad := range []Selector{{Key, "a b"}, {Host, "www.example.com"}} {
		_, err := Purge(t.Context(), p, Request{Scope: "svc", Selectors: []Selector{{Key, "a"}, bad}})
		if ClassOf(err) != Refused || !errors.Is(err, ErrSelector) || len(p.sent()) != 0 {
			t.Errorf("%s: %v after %d requests", bad, err, len(p.sent()))
		}
	}
}

func TestPurgeStopsAtTheFirstError(t *testing.T) {
	p := &script{name: "own", caps: testCaps(), answer: func(_ context.Context, n int, r Request) (Receipt, error) {
		if n == 2 {
			return Receipt{}, fail(Retryable)
		}
		return accept(r), nil
	}}
	var selectors []Selector
	for i := range 10 {
		selectors = append(selectors, Selector{Key, fmt.Sprint("k", i)})
	}
	receipt, err := Purge(t.Context(), p, Request{Scope: "svc", Selectors: selectors})
	if ClassOf(err) != Retryable || len(receipt.IDs) != 4 || len(p.sent()) != 2 {
		t.Errorf("%v, %d receipts after %d requests", err, len(receipt.IDs), len(p.sent()))
	}
}

func TestLimiter(t *testing.T) {
	caps := Capabilities{
		Kinds: map[Kind]Limits{
			Key: {Batch: 100, Bucket: "purge"}, Host: {Batch: 100, Bucket: "purge"},
			URL: {Batch: 100, Bucket: "files"}, All: {Batch: 1},
		},
		Buckets: map[string]Quota{"purge": {Burst: 2, PerSecond: 0.5}, "files": {Burst: 100, PerSecond: 100, PerSelector: true}},
	}
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(caps)
		begin := time.Now()
		for i, step := range []struct {
			kind Kind
			n    int
			at   time.Duration
		}{
			{Key, 100, 0}, {Host, 100, 0}, {All, 1, 0}, {Key, 1, 2 * time.Second},
			{URL, 500, 2 * time.Second}, {URL, 50, 2500 * time.Millisecond}, // more than the burst pays the burst
		} {
			if err := l.Wait(t.Context(), "own", step.kind, step.n); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(begin).Round(time.Millisecond); at != step.at {
				t.Errorf("step %d at %s, want %s", i, at, step.at)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		err := l.Wait(ctx, "own", Key, 1)
		var e *Error
		if !errors.As(err, &e) || e.Class != RateLimited || e.RetryAfter != 1500*time.Millisecond || time.Since(before) != 0 {
			t.Errorf("with too short a deadline: %v after %s", err, time.Since(before))
		}
		if err := l.Wait(t.Context(), "own", Key, 1); err != nil || time.Since(begin) != 4*time.Second {
			t.Errorf("the token of the refused call was lost: %s %v", time.Since(begin), err)
		}
	})
}

func TestPredictDuration(t *testing.T) {
	caps := Capabilities{
		Kinds: map[Kind]Limits{
			Key: {Batch: 100, Bucket: "purge"}, Host: {Batch: 100, Bucket: "purge"},
			URL: {Batch: 100, Bucket: "files"}, All: {Batch: 1},
		},
		Buckets: map[string]Quota{"purge": {Burst: 25, PerSecond: 5.0 / 60}, "files": {Burst: 800, PerSecond: 800, PerSelector: true}},
	}
	for want, counts := range map[time.Duration]map[Kind]int{
		0:                {Key: 2500, All: 1000},
		12 * time.Second: {Key: 2501},
		24 * time.Second: {Key: 2400, Host: 201}, // one bucket for both
		time.Second:      {URL: 1600, Key: 1},
	} {
		if got := PredictDuration(caps, counts).Round(time.Millisecond); got != want {
			t.Errorf("%v: %s, want %s", counts, got, want)
		}
	}
}

func TestRounds(t *testing.T) {
	items := Rounds(testCaps(), keyItem(""), []Selector{{URL, "https://a/"}, {Key, "b"}, {Key, "b"}}, 0)
	if len(items) != 3 { // no second round where the provider asks for none
		t.Fatalf("%d items", len(items))
	}
	if items[1].After != items[0].ID() || items[1].Gap != 2*time.Second || items[1].Round != 2 {
		t.Errorf("second round %+v", items[1])
	}
	if diff := cmp.Diff(items, Rounds(testCaps(), keyItem(""), []Selector{{Key, "b"}, {URL, "https://a/"}}, 0)); diff != "" {
		t.Errorf("order matters: %s", diff)
	}
}
