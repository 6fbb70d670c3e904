package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// tokenOf returns the token of a role; it has to be long enough to look like one.
func tokenOf(r api.Role) string { return "ebbgate-" + strings.Repeat(r.String(), 8) }

func tokens(t *testing.T) *api.Tokens {
	t.Helper()
	var lines string
	for r := api.RoleViewer; r <= api.RoleAdmin; r++ {
		lines += api.TokenLine(r.String(), r, tokenOf(r))
	}
	tk, err := api.ParseTokens([]byte("# who may\n\n" + lines))
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// serve runs a server over a fake until the test ends.
func serve(t *testing.T, c api.Config) (*apitest.Fake, string) {
	t.Helper()
	fake := apitest.New(nil)
	c.Controller, c.Tokens = fake, tokens(t)
	s, err := api.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return fake, "http://" + l.Addr().String()
}

// ask sends one request and returns its status, code and message.
func ask(t *testing.T, method, url, token, body string, headers ...string) (int, api.Error, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Error api.Error }
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(data, &f); err != nil && resp.StatusCode != 503 {
			t.Fatalf("%s %s answered %d %q: %v", method, url, resp.StatusCode, data, err)
		}
	}
	return resp.StatusCode, f.Error, resp.Header
}

// Every route but the health checks wants a token with its role: the role below it is
// refused, the role itself is let in, and no refused request reaches the controller.
func TestRoles(t *testing.T) {
	fake, url := serve(t, api.Config{})
	fill := strings.NewReplacer("{digest}", wire.DigestOf(nil).String(), "{app}", "edge-proxy", "{command}", "pause", "{region}", "eu-west", "{agent}", "nobody")
	for _, rt := range api.Routes() {
		path := url + fill.Replace(rt.Path)
		if rt.Role == api.RoleNone {
			if status, _, _ := ask(t, rt.Method, path, "", ""); status != 200 {
				t.Errorf("%s %s without a token: %d, want 200", rt.Method, rt.Path, status)
			}
			continue
		}
		for _, token := range []string{"", "wrong", strings.ToUpper(tokenOf(api.RoleAdmin))} {
			status, e, h := ask(t, rt.Method, path, token, "{}")
			if status != 401 || e.Code != "unauthorized" || h.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with token %q: %d %+v, want 401", rt.Method, rt.Path, token, status, e)
			}
		}
		if below := rt.Role - 1; below >= api.RoleViewer {
			if status, e, _ := ask(t, rt.Method, path, tokenOf(below), "{}"); status != 403 || e.Code != "forbidden" {
				t.Errorf("%s %s as %s: %d %+v, want 403", rt.Method, rt.Path, below, status, e)
			}
		}
		if rt.Path == "/v1/events" {
			continue // a stream does not end
		}
		if status, _, _ := ask(t, rt.Method, path, tokenOf(rt.Role), ""); status == 401 || status == 403 {
			t.Errorf("%s %s as %s: %d", rt.Method, rt.Path, rt.Role, status)
		}
	}
	if c := fake.Changes(); len(c) > 0 {
		t.Errorf("changed: %v", c)
	}
	for path, want := range map[string]int{"/v1/nothing": 404, "/v1/": 404} {
		if status, _, _ := ask(t, "GET", url+path, "", ""); status != 401 {
			t.Errorf("%s without a token: %d, want 401", path, status)
		}
		if status, e, _ := ask(t, "GET", url+path, tokenOf(api.RoleViewer), ""); status != want || e.Code != "not_found" {
			t.Errorf("%s: %d %+v, want %d", path, status, e, want)
		}
	}
	status, e, h := ask(t, "DELETE", url+"/v1/purges", tokenOf(api.RoleAdmin), "")
	if status != 405 || !slices.Equal(h.Values("Allow"), []string{"GET", "POST"}) {
		t.Errorf("DELETE /v1/purges: %d %+v %v", status, e, h)
	}
}

// refused is how a controller wraps what the engine refuses.
func refused(err error) error { return fmt.Errorf("%w: %w", controller.ErrConflict, err) }

func TestErrors(t *testing.T) {
	fake, url := serve(t, api.Config{Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		err    error
		status int
		code   string
		field  string
	}{
		{fmt.Errorf("%w: no bundle", controller.ErrNotFound), 404, "not_found", ""},
		{fmt.Errorf("%w: moved", controller.ErrConflict), 409, "conflict", ""},
		{refused(rollout.ErrActive), 409, "active", ""},
		{refused(rollout.ErrNotActive), 409, "not_active", ""},
		{refused(rollout.ErrMoved), 409, "moved", ""},
		{refused(rollout.ErrUndo), 409, "nothing_to_undo", ""},
		{refused(rollout.ErrStatus), 409, "status", ""},
		{refused(rollout.ErrQuarantine), 409, "quarantine", ""},
		{refused(&wire.FieldError{Doc: "start", Field: "acknowledge", Reason: "is wrong"}), 422, "invalid_document", "acknowledge"},
		{fmt.Errorf("%w: what", controller.ErrInvalid), 400, "invalid", ""},
		{controller.ErrStandby, 503, "standby", ""},
		{controller.ErrDeposed, 503, "standby", ""},
		{fmt.Errorf("write: %w", wire.ErrFenced), 503, "standby", ""},
		{fmt.Errorf("bus: %w", wire.ErrDisconnected), 503, "unavailable", ""},
		{fmt.Errorf("manifest: %w: 1 of 2", wire.ErrSignature), 422, "signature", ""},
		{fmt.Errorf("%w: %w", controller.ErrInvalid, &wire.FieldError{Doc: "plan", Field: "waves[0].bake", Reason: "is negative"}), 422, "invalid_document", "waves[0].bake"},
		{fmt.Errorf("root: %w", wire.ErrExpired), 422, "expired", ""},
		{fmt.Errorf("root: %w", wire.ErrReplay), 422, "replay", ""},
		{fmt.Errorf("x: %w", wire.ErrFloor), 422, "floor", ""},
		{fmt.Errorf("manifest: %w", wire.ErrTooLarge), 413, "too_large", ""},
		{fmt.Errorf("blob: %w", wire.ErrNotFound), 404, "not_found", ""},
		{context.DeadlineExceeded, 504, "timeout", ""},
		{errors.New("disk on fire"), 500, "internal", ""},
	} {
		fake.Fail(c.err)
		status, e, _ := ask(t, "GET", url+"/v1/apps", tokenOf(api.RoleViewer), "")
		if status != c.status || e.Code != c.code || e.Field != c.field || e.Message == "" || strings.HasPrefix(e.Message, "conflict: ") {
			t.Errorf("%v: answered %d %+v, want %d %s", c.err, status, e, c.status, c.code)
		}
	}
	fake.Fail(controller.ErrStandby)
	if status, _, _ := ask(t, "GET", url+"/readyz", "", ""); status != 503 {
		t.Errorf("readyz of a standby: %d, want 503", status)
	}
	if status, _, _ := ask(t, "GET", url+"/healthz", "", ""); status != 200 {
		t.Errorf("healthz of a standby: %d, want 200", status)
	}
	fake.Fail(nil)
	for _, c := range []struct {
		doubt  error
		status int
		body   string
	}{
		{nil, 200, `{"status":"ready"}`},
		{fmt.Errorf("%w: the bus is silent", controller.ErrStandby), 503, `{"reason":"the bus is silent","status":"unsure"}`},
	} {
		fake.Doubt(c.doubt)
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := strings.TrimSpace(string(body)); err != nil || resp.StatusCode != c.status || got != c.body {
			t.Errorf("readyz of a leader that doubts %v: %d %s, %v, want %d %s", c.doubt, resp.StatusCode, got, err, c.status, c.body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	fake, url := serve(t, api.Config{})
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"POST", "/v1/rollouts", ``, 400, ""},
		{"POST", "/v1/rollouts", `{`, 400, ""},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","verison":"1"}`, 400, "verison"},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","app":"waf","version":"1"}`, 400, "app"},
		{"POST", "/v1/rollouts", `{"app":7,"version":"1"}`, 400, "app"},
		{"POST", "/v1/rollouts", `{"app":"Edge","version":"1"}`, 400, "app"},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy"}`, 400, "version"},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","version":"1"} x`, 400, ""},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","version":"1","plan":{"waves":[],"wave":1}}`, 400, "wave"},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","version":"1","plan":{"waves":1,"waves":2}}`, 400, "plan.waves"},
		{"POST", "/v1/rollouts", `{"app":"edge-proxy","version":"1","plan":{"deadline":5}}`, 400, "deadline"},
		{"POST", "/v1/plan", `{"app":"edge-proxy","version":"1","plan":[]}`, 400, "plan"},
		{"POST", "/v1/plan", `{"app":"edge-proxy","version":"1","plan":{"` + big[:300<<10] + `":1}}`, 413, ""},
		{"POST", "/v1/rollouts", `{"app":"` + big + `"}`, 413, ""},
		{"POST", "/v1/bundles", `{"index":"xyz"}`, 400, "index"},
		{"POST", "/v1/bundles", `{}`, 400, "index"},
		{"POST", "/v1/apps/edge-proxy/destroy", ``, 404, "command"},
		{"POST", "/v1/apps/Edge/pause", ``, 400, "app"},
		{"GET", "/v1/apps/edge..proxy", ``, 400, "app"},
		{"GET", "/v1/agents?region=EU", ``, 400, "region"},
		{"GET", "/v1/agents?region=mars", ``, 404, ""},
		{"POST", "/v1/agents", `{"region":"eu-west","agent":"a"}`, 400, "key"},
		{"POST", "/v1/agents", `{"region":"eu-west","agent":"a","key":"ed25519:zz"}`, 400, "key"},
		{"PUT", "/v1/regions/eu-west/agents/nobody/drained", `{"drained":true}`, 404, ""},
		{"DELETE", "/v1/regions/eu-west/agents/nobody", ``, 404, ""},
		{"DELETE", "/v1/regions/EU/agents/nobody", ``, 400, "region"},
		{"POST", "/v1/purges", `{"region":"eu-west","selectors":[]}`, 400, "selectors"},
		{"POST", "/v1/purges", `{"region":"eu-west","selectors":["rubbish"]}`, 400, ""},
		{"GET", "/v1/events?after=x", ``, 400, "after"},
		{"GET", "/v1/audit?after=-1", ``, 400, "after"},
		{"GET", "/v1/manifests/abc", ``, 400, "digest"},
		{"PUT", "/v1/blobs/" + wire.DigestOf([]byte("a")).String(), "b", 422, ""},
		{"PUT", "/v1/blobs/" + wire.DigestOf([]byte("a")).String(), big, 413, ""},
	} {
		status, e, _ := ask(t, c.method, url+c.path, tokenOf(api.RoleAdmin), c.body)
		if status != c.status || e.Field != c.field || e.Message == "" || strings.Contains(e.Message, "\n") {
			t.Errorf("%s %s %.60s: answered %d %+v, want %d and field %q", c.method, c.path, c.body, status, e, c.status, c.field)
		}
	}
	if c := fake.Changes(); len(c) > 0 {
		t.Errorf("changed: %v", c)
	}
}

// A page of another origin cannot make a browser change anything, not even with a token.
func TestCrossOrigin(t *testing.T) {
	fake, url := serve(t, api.Config{})
	fake.Show(apitest.Film("done"))
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		status, e, _ := ask(t, "POST", url+"/v1/apps/edge-proxy/abort", tokenOf(api.RoleAdmin), "", h...)
		if status != 403 || e.Code != "cross_origin" {
			t.Errorf("%v: %d %+v, want 403", h, status, e)
		}
	}
	if c := fake.Changes(); len(c) > 0 {
		t.Errorf("changed: %v", c)
	}
	status, _, h := ask(t, "POST", url+"/v1/apps/edge-proxy/abort", tokenOf(api.RoleAdmin), "", "Origin", url)
	if status != 200 {
		t.Errorf("own origin: %d", status)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if h.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
	if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
}

// The log tells what was asked, and never a token, whatever it is asked with.
func TestLogHoldsNoToken(t *testing.T) {
	var log servertest.Log
	fake, url := serve(t, api.Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	secret := tokenOf(api.RoleAdmin)
	ask(t, "GET", url+"/v1/apps", secret, "")
	ask(t, "GET", url+"/v1/apps?token="+secret, "", "")
	ask(t, "GET", url+"/v1/apps", "x"+secret, "")
	fake.Fail(errors.New("broken"))
	ask(t, "GET", url+"/v1/apps", secret, "")
	text := log.String()
	if !strings.Contains(text, "path=/v1/apps status=200") || !strings.Contains(text, "status=500") {
		t.Errorf("log lacks requests:\n%s", text)
	}
	if strings.Contains(text, secret) {
		t.Errorf("log holds the token:\n%s", text)
	}
}

// Close ends event streams at once and is not held up by them.
func TestCloseEndsStreams(t *testing.T) {
	fake := apitest.New(nil)
	s, err := api.New(api.Config{Controller: fake, Tokens: tokens(t)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	req, _ := http.NewRequest("GET", "http://"+l.Addr().String()+"/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+tokenOf(api.RoleViewer))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %s", took)
	}
}

// A stream outlives the time that other requests may take.
func TestStreamOutlivesTimeouts(t *testing.T) {
	const most = 150 * time.Millisecond
	fake := apitest.New(nil)
	s, err := api.New(api.Config{Controller: fake, Tokens: tokens(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.SetTimeouts(most)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	req, _ := http.NewRequest("GET", "http://"+l.Addr().String()+"/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+tokenOf(api.RoleViewer))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for start := time.Now(); time.Since(start) < 5*most; {
		fake.Emit(controller.Event{Kind: "agent", Text: "x"})
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
		}
		if fake.Readers() != 1 || lines.Err() != nil {
			t.Fatalf("the stream ended after %s: %v", time.Since(start), lines.Err())
		}
		if time.Since(start) > most { // let more time pass than one deadline without a word
			<-time.After(most)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []api.Config{{}, {Controller: apitest.New(nil)}, {Tokens: tokens(t)}} {
		if _, err := api.New(c); err == nil {
			t.Errorf("New(%+v) accepted", c)
		}
	}
}

// The scheme's name has no case (RFC 9110, section 11.1); the token has.
func TestBearerInAnyCase(t *testing.T) {
	_, url := serve(t, api.Config{})
	for scheme, want := range map[string]int{"Bearer ": 200, "bearer ": 200, "BEARER ": 200, "Basic ": 401, "": 401, "Bearer": 401} {
		if got, _, _ := ask(t, "GET", url+"/v1/regions", "", "", "Authorization", scheme+tokenOf(api.RoleViewer)); got != want {
			t.Errorf("%q: %d, want %d", scheme, got, want)
		}
	}
}
