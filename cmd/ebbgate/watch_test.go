package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// serving returns a client of a controller in memory.
func serving(t *testing.T) (*apitest.Fake, *api.Client) {
	t.Helper()
	return behind(t, func(h http.Handler) http.Handler { return h })
}

// behind is serving with something between the two.
func behind(t *testing.T, between func(http.Handler) http.Handler) (*apitest.Fake, *api.Client) {
	t.Helper()
	tokens, err := api.ParseTokens([]byte(api.TokenLine("me", api.RoleAdmin, "secret")))
	if err != nil {
		t.Fatal(err)
	}
	fake := apitest.New(nil)
	s, err := api.New(api.Config{Controller: fake, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(between(s.Handler()))
	t.Cleanup(srv.Close)
	cl, err := api.NewClient(api.ClientConfig{Server: srv.URL, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return fake, cl
}

// Whoever watches a rollout that another one takes the place of is told so; how a rollout
// ended that nobody looked at in time is in the history.
func TestWatchReplaced(t *testing.T) {
	for _, test := range []struct {
		end  rollout.RolloutStatus
		code int
		said string
	}{
		{rollout.StatusSuperseded, exitRolledBack, "edge-proxy 1.4.0: superseded, 0 of 6 agents confirmed: superseded by 20261123-130000-newer"},
		{rollout.StatusAborted, exitRolledBack, "edge-proxy 1.4.0: aborted"},
		{rollout.StatusDone, exitOK, ""},
		{"", exitFailure, "cannot watch edge-proxy: another rollout of the app has begun"},
	} {
		fake, cl := serving(t)
		fake.Play(apitest.Scene("paused"))
		view, err := cl.App(t.Context(), apitest.App)
		if err != nil {
			t.Fatal(err)
		}
		newer := *view.Rollout
		newer.ID = "20261123-130000-newer"
		next := apitest.Scene("paused")
		next.Rollout = &newer
		old := rollout.Superseded(*view.Rollout, newer)
		if test.end != rollout.StatusSuperseded {
			old.Status, old.Halt = test.end, ""
		}
		fake.Play(next, old)
		var out, progress strings.Builder
		c := &cli{out: &out, err: &progress, output: "table"}
		if code := c.exit(watchRollout(t.Context(), c, cl, view, 0)); code != test.code {
			t.Errorf("%s: exit code %d, want %d", test.end, code, test.code)
		}
		if !strings.Contains(progress.String(), test.said) {
			t.Errorf("%s: said %s, want %s", test.end, progress.String(), test.said)
		}
	}
}

// Whoever stops waiting, or whose time is up, while a slow terminal takes what is shown, is
// not told that the rollout is done: by then the events have ended, too.
func TestWatchEndsWhileShown(t *testing.T) {
	for _, test := range []struct {
		timeout time.Duration // 0: a signal
		code    int
	}{{0, exitInterrupted}, {20 * time.Millisecond, exitTimeout}} {
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			began, ended := make(chan struct{}), make(chan struct{})
			var once sync.Once
			fake, cl := behind(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/v1/events" {
						h.ServeHTTP(w, r)
						return
					}
					once.Do(func() { close(began) })
					h.ServeHTTP(w, r)
					close(ended)
				})
			})
			fake.Play(apitest.Scene("paused"))
			view, err := cl.App(t.Context(), apitest.App)
			if err != nil {
				t.Fatal(err)
			}
			var shown sync.Once
			c := &cli{out: writer(func(b []byte) (int, error) {
				shown.Do(func() {
					select {
					case <-began:
					case <-time.After(test.timeout + time.Second): // the time was up before
						return
					}
					if test.timeout == 0 {
						cancel()
					}
					<-ended
				})
				return len(b), nil
			}), err: &strings.Builder{}, output: "table"}
			if code := c.exit(watchRollout(ctx, c, cl, view, test.timeout)); code != test.code {
				t.Fatalf("timeout %s: exit code %d, want %d", test.timeout, code, test.code)
			}
			cancel()
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// With -o yaml each event is a document of its own, with -o json a line; a decision that was
// read from the state has no number in the stream of events, and shows none.
func TestWatchDocuments(t *testing.T) {
	for _, output := range []string{"json", "yaml"} {
		fake, cl := serving(t)
		fake.Play(apitest.Scene("done"))
		view, err := cl.App(t.Context(), apitest.App)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		c := &cli{out: &out, err: &strings.Builder{}, output: output}
		if err := watchRollout(t.Context(), c, cl, view, 0); err != nil {
			t.Fatal(err)
		}
		next := json.NewDecoder(strings.NewReader(out.String())).Decode
		if output == "yaml" {
			next = yaml.NewDecoder(strings.NewReader(out.String())).Decode
		}
		var texts []string
		for {
			e := make(map[string]any)
			if err := next(&e); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v in\n%s", output, err, out.String())
			}
			if _, has := e["id"]; has || e["kind"] != "decision" {
				t.Errorf("%s: got %v", output, e)
			}
			texts = append(texts, fmt.Sprint(e["text"]))
		}
		var want []string
		for _, d := range view.Rollout.Decisions {
			want = append(want, d.Reason)
		}
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", output, diff)
		}
	}
}

// The time that a watch may take is that of its first look, too.
func TestWatchTimeoutOfFirstLook(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var told strings.Builder
	c := &cli{out: &strings.Builder{}, err: &told}
	root := newRootCommand(c)
	root.SetArgs([]string{"rollout", "get", "edge-proxy", "-w", "--timeout", "50ms", "--server", "http://" + l.Addr().String()})
	if code := c.exit(root.ExecuteContext(t.Context())); code != exitTimeout || !strings.Contains(told.String(), "cannot wait any longer than 50ms") {
		t.Errorf("exit code %d, %s", code, told.String())
	}
}

// Each look that fails in another way than the one before is told, and the same once more when
// there was an answer between.
func TestWatchLost(t *testing.T) {
	gone := errors.New("the disk is full")
	standby := fmt.Errorf("%w: this controller stands by, b leads", controller.ErrStandby)
	answers := []error{gone, gone, standby, nil, standby}
	want := []string{"the disk is full; trying again", "this controller stands by, b leads; trying again", "this controller stands by, b leads; trying again"}
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0 // of the one watcher
	var fake *apitest.Fake
	fake, cl := behind(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/apps/edge-proxy" {
				if looks > len(answers) {
					cancel()
				} else if looks > 0 {
					fake.Fail(answers[looks-1])
				}
				looks++
			}
			h.ServeHTTP(w, r)
		})
	})
	fake.Play(apitest.Scene("paused"))
	view, err := cl.App(t.Context(), apitest.App)
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	c := &cli{out: &strings.Builder{}, err: &told, output: "table"}
	if err := watchRollout(ctx, c, cl, view, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(told.String()), "\n")); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// When the time is up and the newest look had no answer, the last word is why, and of when the
// state is.
func TestWatchTimeoutWhileLost(t *testing.T) {
	for _, test := range []struct {
		silent bool
		why    string
	}{{false, "this controller stands by, b leads"}, {true, "cannot reach the controller at "}} {
		away := false // of the one who asks
		fake, cl := behind(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.silent && away {
					<-r.Context().Done()
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		fake.Play(apitest.Scene("paused"))
		view, err := cl.App(t.Context(), apitest.App)
		if err != nil {
			t.Fatal(err)
		}
		away = true
		fake.Fail(fmt.Errorf("%w: this controller stands by, b leads", controller.ErrStandby))
		var told strings.Builder
		c := &cli{out: &strings.Builder{}, err: &told, output: "table"}
		if code := c.exit(watchRollout(t.Context(), c, cl, view, 2500*time.Millisecond)); code != exitTimeout {
			t.Errorf("%s: exit code %d", test.why, code)
		}
		since := "; at " + moment(view.Summary.At, time.Now()) + " it was: edge-proxy 1.4.0: paused, "
		if !strings.Contains(told.String(), "ebbgate: cannot wait any longer than 2.5s: "+test.why) || !strings.Contains(told.String(), since) {
			t.Errorf("%s: told %s, want%s", test.why, told.String(), since)
		}
	}
}

// What happened before a rollout ended is shown before its end, though the state has that
// sooner than the events do; a decision that no event tells of holds up nobody for long.
func TestWatchLastEvents(t *testing.T) {
	for _, tells := range []bool{true, false} {
		var fake *apitest.Fake
		var once sync.Once
		done := apitest.Scene("done")
		last := done.Rollout.Decisions[len(done.Rollout.Decisions)-1]
		fake, cl := behind(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/apps/edge-proxy" && fake.Readers() > 0 {
					once.Do(func() {
						fake.Play(done)
						if tells {
							time.AfterFunc(100*time.Millisecond, func() {
								fake.Emit(controller.Event{App: apitest.App, Region: "us-east", Kind: "purge", Text: "purge verified"})
								fake.Emit(controller.Event{App: apitest.App, Kind: "decision", Text: last.Reason, Decision: &last})
							})
						}
					})
				}
				h.ServeHTTP(w, r)
			})
		})
		fake.Play(apitest.Scene("running"))
		view, err := cl.App(t.Context(), apitest.App)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		c := &cli{out: &out, err: &strings.Builder{}, output: "table"}
		if err := watchRollout(t.Context(), c, cl, view, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		end := strings.Index(out.String(), last.Reason)
		if verified := strings.Index(out.String(), "purge verified"); end < 0 || tells && (verified < 0 || verified > end) {
			t.Errorf("told %t: shown\n%s", tells, out.String())
		}
	}
}
