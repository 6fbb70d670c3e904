package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func client(t *testing.T, url string, role api.Role) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{Server: url, Token: tokenOf(role)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Everything the client can ask arrives, and comes back as it was.
func TestClientRoundTrip(t *testing.T) {
	fake, url := serve(t, api.Config{})
	film := apitest.Film("done")
	fake.Show(film)
	c, ctx := client(t, url, api.RoleAdmin), t.Context()
	got, err := c.App(ctx, apitest.App)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(film[0], got); diff != "" {
		t.Errorf("App (-sent +got):\n%s", diff)
	}
	if _, err := c.App(ctx, "nothing"); !is(err, 404, "not_found") {
		t.Errorf("App(nothing): %v", err)
	}
	blob := []byte("content")
	missing, err := c.MissingBlobs(ctx, []wire.Digest{wire.DigestOf(blob), wire.DigestOf(nil)})
	if err != nil || len(missing) != 2 {
		t.Errorf("MissingBlobs = %v, %v", missing, err)
	}
	if err := c.PutBlob(ctx, wire.DigestOf(blob), blob); err != nil {
		t.Error(err)
	}
	if missing, err = c.MissingBlobs(ctx, []wire.Digest{wire.DigestOf(blob)}); err != nil || len(missing) != 0 {
		t.Errorf("MissingBlobs = %v, %v", missing, err)
	}
	regions, err := c.Regions(ctx)
	if err != nil || len(regions) != 2 {
		t.Errorf("Regions = %v, %v", regions, err)
	}
	if err := c.Drain(ctx, "eu-west", "eu-west-1", true); err != nil {
		t.Error(err)
	}
	agents, err := c.Agents(ctx, "eu-west")
	if err != nil || len(agents) != 3 || !agents[0].Drained {
		t.Errorf("Agents = %v, %v", agents, err)
	}
	purges, err := c.RunPurge(ctx, controller.PurgeRequest{Region: "eu-west", Selectors: []string{"key:rules"}})
	if err != nil || len(purges) != 1 || purges[0].Item.Selector.String() != "key:rules" {
		t.Errorf("RunPurge = %v, %v", purges, err)
	}
	if listed, err := c.Purges(ctx, "eu-west", ""); err != nil || cmp.Diff(purges, listed) != "" {
		t.Errorf("Purges = %v, %v", listed, err)
	}
	if _, err := c.Command(ctx, apitest.App, "pause", rollout.Of{}); err != nil {
		t.Error(err)
	}
	if h, err := c.History(ctx, apitest.App); err != nil || len(h) != 1 {
		t.Errorf("History = %v, %v", h, err)
	}
	// The hashes hold over what has travelled, byte for byte.
	entries, err := c.Audit(ctx, 0)
	if err != nil || controller.VerifyAudit(wire.Digest{}, entries) != nil {
		t.Errorf("Audit: %v, %v", err, controller.VerifyAudit(wire.Digest{}, entries))
	}
	if err := c.Remove(ctx, "eu-west", "eu-west-1"); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, "eu-west", "eu-west-1"); !is(err, 404, "not_found") {
		t.Errorf("Remove again = %v", err)
	}
	want := []string{"admin: drained eu-west-1 in eu-west: true", "admin: purged key:rules in eu-west", "admin: pause edge-proxy", "admin: removed eu-west-1 from eu-west"}
	if diff := cmp.Diff(want, fake.Changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func is(err error, status int, code string) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == status && e.Code == code
}

func TestClientUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	_, err = client(t, url, api.RoleViewer).Apps(t.Context())
	if want := "cannot reach the controller at " + url + ": connection refused"; err == nil || err.Error() != want || !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("error %v, want %s", err, want)
	}
	err = client(t, url, api.RoleViewer).Watch(t.Context(), 0, func(controller.Event) error { return nil })
	if !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("Watch: %v", err)
	}
	for _, bad := range []string{"", "127.0.0.1:7420", "ftp://x", "http://user:pw@x", "http://x/path", "http://x?a=b"} {
		if _, err := api.NewClient(api.ClientConfig{Server: bad}); err == nil {
			t.Errorf("server %q accepted", bad)
		}
	}
}

// A read is tried again when its connection breaks, a change never: it may have happened.
func TestClientRetries(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	c := client(t, s.URL, api.RoleAdmin)
	if _, err := c.Apps(t.Context()); !errors.Is(err, api.ErrUnreachable) || asked.Load() < 3 {
		t.Errorf("a read: %v after %d attempts", err, asked.Load())
	}
	asked.Store(0)
	if _, err := c.Command(t.Context(), apitest.App, "abort", rollout.Of{}); !errors.Is(err, api.ErrUnreachable) || asked.Load() != 1 {
		t.Errorf("a change: %v after %d attempts", err, asked.Load())
	}
}

// silent accepts connections as a process does that is stopped, at once or, if it says something,
// in the middle of its answer.
func silent(t *testing.T, says string) (url string, conns *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			conns.Add(1)
			if says != "" {
				_, _ = conn.Read(make([]byte, 1<<10))
				_, _ = conn.Write([]byte(says))
			}
		}
	}()
	return "http://" + l.Addr().String(), conns
}

// A controller that is silent ends in an error whatever it was in the middle of, and a stream
// of events is begun again.
func TestClientSilence(t *testing.T) {
	open := func(url string) *api.Client {
		c, err := api.NewClient(api.ClientConfig{Server: url, Silence: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, says := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n["} {
		url, conns := silent(t, says)
		c := open(url)
		calls := []func() error{
			func() error { _, err := c.Apps(t.Context()); return err },
			func() error { return c.Remove(t.Context(), "ams", "a") },
		}
		if says == "" {
			calls = append(calls, func() error { return c.PutBlob(t.Context(), wire.Digest{}, make([]byte, 64<<20)) }) // no buffer takes that
		}
		for i, call := range calls {
			err := call()
			if want := "cannot reach the controller at " + url + ": it has not answered for 100ms"; !errors.Is(err, api.ErrUnreachable) || err.Error() != want {
				t.Errorf("call %d after %q: %v, want %s", i, says, err, want)
			}
			if n := conns.Load(); n != int32(i+1) {
				t.Errorf("call %d after %q: %d connections", i, says, n)
			}
		}
	}
	url, conns := silent(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- open(url).Watch(ctx, 0, func(controller.Event) error { return nil }) }()
	wait(t, "another connection", func() bool { return conns.Load() > 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

// What is no controller is named as such, and gets no second chance to see the token.
func TestClientOtherServer(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
	} {
		s := httptest.NewServer(answer)
		_, err := client(t, s.URL, api.RoleAdmin).Apps(t.Context())
		if err == nil || !strings.Contains(err.Error(), "which is not how a controller answers") {
			t.Errorf("error %v", err)
		}
		s.Close()
	}
	if elsewhere.Load() > 0 {
		t.Error("the client followed a redirect")
	}
}

// A watcher misses nothing when its connection is cut: it resumes after the last event.
func TestWatchResumes(t *testing.T) {
	fake, url := serve(t, api.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan uint64, 100)
	done := make(chan error, 1)
	stop := errors.New("enough")
	go func() {
		done <- client(t, url, api.RoleViewer).Watch(ctx, 0, func(e controller.Event) error {
			got <- e.ID
			if e.ID == 30 {
				return stop
			}
			return nil
		})
	}()
	wait(t, "a reader", func() bool { return fake.Readers() == 1 })
	for i := range 30 {
		if i > 0 && i%10 == 0 {
			wait(t, "what was sent", func() bool { return len(got) == i })
			fake.CutOff()
		}
		fake.Emit(controller.Event{Kind: "agent", Text: fmt.Sprintf("line\n%d <&>", i)})
	}
	if err := <-done; !errors.Is(err, stop) {
		t.Fatalf("Watch returned %v, want what f returned", err)
	}
	for want := uint64(1); want <= 30; want++ {
		if id := <-got; id != want {
			t.Fatalf("event %d, want %d", id, want)
		}
	}
}

func TestWatchRefused(t *testing.T) {
	_, url := serve(t, api.Config{})
	c, err := api.NewClient(api.ClientConfig{Server: url, Token: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(t.Context(), 0, func(controller.Event) error { return nil }); !is(err, 401, "unauthorized") {
		t.Errorf("Watch: %v", err)
	}
}

// wait waits for a condition with a deadline.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("id: 1\nevent: agent\ndata: {\"id\":1,\"kind\":\"agent\"}\n\n: beat\n\n")
	f.Add("data: {\n\ndata:}\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = api.ReadEvents(strings.NewReader(text), func(controller.Event) error { return nil })
	})
}
