package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

func testBlobs(t *testing.T, f Fixture) {
	c, _ := leader(t, f)
	a := f.Agent(t, region, agent)
	data := bytes.Repeat([]byte("blob"), wire.MaxBlob/4)
	d := wire.DigestOf(data)
	has, err := c.HasBlob(background(t), d)
	must(t, err)
	if has {
		t.Error("an empty bus has the blob")
	}
	_, err = a.Blob(background(t), d)
	wantErr(t, "blob of an agent before there is any", err, wire.ErrNotFound)
	_, err = c.Blob(background(t), d)
	wantErr(t, "blob of a controller before there is any", err, wire.ErrNotFound)
	for range 2 { // the second time is free
		must(t, c.PutBlob(background(t), d, data))
	}
	// A blob never changes: what is stored first stays.
	must(t, c.PutBlob(background(t), d, []byte("something else")))
	if has, err = c.HasBlob(background(t), d); err != nil || !has {
		t.Errorf("has blob: %v, %v", has, err)
	}
	got, err := c.Blob(background(t), d)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Errorf("the controller reads %d other bytes", len(got))
	}
	eventually(t, func() error {
		got, err := a.Blob(background(t), d)
		if err != nil || !bytes.Equal(got, data) {
			return fmt.Errorf("the agent reads %d bytes, %v", len(got), err)
		}
		return nil
	})
}

func testManyBlobs(t *testing.T, f Fixture) {
	c, _ := leader(t, f)
	const many = 100
	var wait sync.WaitGroup
	for i := range many {
		wait.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 32<<10)
			for range 2 {
				if err := c.PutBlob(background(t), wire.DigestOf(data), data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for i := range many {
		has, err := c.HasBlob(background(t), wire.DigestOf(bytes.Repeat([]byte{byte(i)}, 32<<10)))
		if err != nil || !has {
			t.Fatalf("blob %d: %v, %v", i, has, err)
		}
	}
}

// reports keeps the last report of every agent.
type reports struct {
	mu   sync.Mutex // guards last and at
	last map[string]string
	at   map[string]time.Time
}

// follow reads reports until the test ends.
func follow(t *testing.T, c wire.ControllerBus) *reports {
	r := &reports{last: map[string]string{}, at: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Reports(ctx, func(region wire.Region, a wire.AgentID, envelope []byte, stored time.Time) {
			r.mu.Lock()
			defer r.mu.Unlock()
			key := string(region) + "/" + string(a)
			r.last[key], r.at[key] = string(envelope), stored
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			wantErr(t, "reports when its context ends", err, context.Canceled)
		case <-time.After(patience):
			t.Error("reports goes on after its context ended")
		}
	})
	return r
}

func (r *reports) are(want map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.last); diff != "" {
		return fmt.Errorf("reports (-want +got):\n%s", diff)
	}
	return nil
}

func testReports(t *testing.T, f Fixture) {
	c, _ := leader(t, f)
	one, two := f.Agent(t, region, "node-1"), f.Agent(t, "us-east", "node-2")
	begun := time.Now().Add(-time.Second)
	for _, envelope := range []string{"old", "new"} {
		must(t, one.Report(background(t), region, "node-1", []byte(envelope)))
	}
	got := follow(t, c)
	eventually(t, func() error { return got.are(map[string]string{"eu-west/node-1": "new"}) })
	must(t, two.Report(background(t), "us-east", "node-2", []byte("first")))
	eventually(t, func() error {
		return got.are(map[string]string{"eu-west/node-1": "new", "us-east/node-2": "first"})
	})
	got.mu.Lock()
	defer got.mu.Unlock()
	for key, at := range got.at {
		if at.Before(begun) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("%s was stored at %v, now is %v", key, at, time.Now())
		}
	}
}

func testReportsResume(t *testing.T, f Fixture) {
	c, _ := leader(t, f)
	a := f.Agent(t, region, agent)
	must(t, a.Report(background(t), region, agent, []byte("before")))
	got := follow(t, c)
	eventually(t, func() error { return got.are(map[string]string{"eu-west/node-1": "before"}) })
	f.Down(t)
	f.Up(t)
	eventually(t, func() error {
		err := a.Report(background(t), region, agent, []byte("after"))
		if err != nil && !errors.Is(err, wire.ErrDisconnected) {
			t.Fatal(err)
		}
		return err
	})
	eventually(t, func() error { return got.are(map[string]string{"eu-west/node-1": "after"}) })
}
