package dataplane

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

func probe(path string, status int) wire.Probe { return wire.Probe{Path: path, Status: status} }

func TestProbe(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from ", r.Host, " part ", r.Header.Get("X-Part"))
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat(".", maxBody), "late")
	})
	var connections atomic.Int32
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	for i, tt := range []struct {
		probe wire.Probe
		want  string // of the error; "" is none
	}{
		{wire.Probe{Path: "/ok", Status: 200}, ""},
		{wire.Probe{Path: "/ok", Status: 200, Host: "shop.test", Body: "from shop.test"}, ""},
		{wire.Probe{Path: "/ok", Status: 200, Body: "part 7"}, ""},
		{wire.Probe{Path: "/ok", Status: 204}, "probe /ok: answered 200, want 204"},
		{wire.Probe{Path: "/bad", Status: 200}, "probe /bad: answered 500, want 200"},
		{wire.Probe{Path: "/away", Status: 302}, ""},
		{wire.Probe{Path: "/long", Status: 200, Body: "late"}, `probe /long: the body does not hold "late"`},
	} {
		err := Probe(t.Context(), srv.URL, tt.probe, http.Header{"X-Part": {"7"}})
		if got := fmt.Sprint(err); got != tt.want && !(err == nil && tt.want == "") {
			t.Errorf("%+v: got %s, want %q", tt.probe, got, tt.want)
		}
		if got := connections.Load(); got != int32(i+1) {
			t.Errorf("%d connections after %d probes", got, i+1)
		}
	}
	srv.Close()
	if err := Probe(t.Context(), srv.URL, probe("/ok", 200), nil); err == nil {
		t.Error("a dead server: no error")
	}
}

// TestConfirmBelievesNothingElse answers what a data plane could that does not serve
// the release.
func TestConfirmBelievesNothingElse(t *testing.T) {
	r := Release{App: "shop", Region: "eu-west", Epoch: 17, Version: "1.4.0", Digest: wire.DigestOf([]byte("x"))}
	own := func(h http.Header) {
		h.Set(tags.HeaderRelease, r.ID())
		h.Set(tags.HeaderGeneration, "shop.eu-west-17")
	}
	for name, tt := range map[string]struct {
		status int
		header func(http.Header)
		body   string
		want   string
	}{
		"the release":     {200, own, string(r.Identity().JSON()), ""},
		"another status":  {503, own, string(r.Identity().JSON()), "answered 503"},
		"another app":     {200, own, strings.Replace(string(r.Identity().JSON()), "shop", "shed", 1), `of "shed"`},
		"another epoch":   {200, own, strings.Replace(string(r.Identity().JSON()), `"epoch":17`, `"epoch":16`, 1), "serves"},
		"no header":       {200, func(http.Header) {}, string(r.Identity().JSON()), "X-Ebbgate-Release"},
		"two headers":     {200, func(h http.Header) { own(h); h.Add(tags.HeaderRelease, "old") }, string(r.Identity().JSON()), "X-Ebbgate-Release"},
		"old generation":  {200, func(h http.Header) { own(h); h.Set(tags.HeaderGeneration, "eu-west-16") }, string(r.Identity().JSON()), "X-Ebbgate-Gen"},
		"a page":          {200, own, "<html>hello</html>", "not JSON"},
		"another release": {200, own, `{"release":"x"}`, "serves"},
		"unknown members": {200, own, strings.Replace(string(r.Identity().JSON()), "{", `{"more":{"a":1},`, 1), ""}, // of a newer agent/tags
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				tt.header(w.Header())
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			err := identityShows(t.Context(), srv.URL+tags.IdentityPath, r)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
