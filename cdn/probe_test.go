package cdn

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := Want{Region: "eu-west", Epoch: 17, Same: []uint64{15}, PurgedAt: now.Add(-10 * time.Second)}
	for _, test := range []struct {
		name   string
		status int // 0: 200
		header http.Header
		fresh  bool
		seen   string
	}{
		{"wanted generation", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-17"}, "Age": {"9999"}}, true, "eu-west-17"},
		{"later generation", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-100"}}, true, "eu-west-100"},
		{"older generation", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-9"}, "Age": {"0"}}, false, "eu-west-9"},
		{"another region", 0, http.Header{"X-Ebbgate-Gen": {"us-east-99"}}, false, "of another region"},
		{"no generation", 0, http.Header{"X-Ebbgate-Gen": {"17"}}, false, "bad generation"},
		{"young", 0, http.Header{"Age": {"9"}}, true, "age 9"},
		{"as old as the purge", 0, http.Header{"Age": {"10"}}, false, "age 10"},
		{"old", 0, http.Header{"Age": {"3600"}}, false, "age 3600"},
		{"negative age", 0, http.Header{"Age": {"-1"}}, false, "bad Age"},
		{"forwarded", 0, http.Header{"Cache-Status": {"edge; fwd=miss; stored", "shield; fwd=uri-miss"}}, true, "Cache-Status"},
		{"hit behind a miss", 0, http.Header{"Cache-Status": {"shield; hit; ttl=30, edge; fwd=miss"}}, false, "Cache-Status"},
		{"hit that tells more", 0, http.Header{"Cache-Status": {`Varnish; hit; detail="a;fwd=miss"`}}, false, "Cache-Status"},
		{"hit that tells more, with a comma", 0, http.Header{"Cache-Status": {`Varnish; hit; detail="a, b;fwd=miss"`}}, false, "Cache-Status"},
		{"hit that tells more, with a quote", 0, http.Header{"Cache-Status": {`Varnish; hit; detail="a\"; fwd=miss"`}}, false, "Cache-Status"},
		{"hit and forwarded", 0, http.Header{"Cache-Status": {"edge; hit; fwd=miss"}}, false, "Cache-Status"},
		{"forwarded, telling more", 0, http.Header{"Cache-Status": {`"edge, one"; fwd=miss; detail="a;hit, \\"`, "shield;hit=?0;fwd=uri-miss"}}, true, "Cache-Status"},
		{"string without end", 0, http.Header{"Cache-Status": {`edge; fwd=miss; detail="a`}}, false, "Cache-Status"},
		{"name of a cache", 0, http.Header{"Cache-Status": {"fwd=miss"}}, false, "Cache-Status"},
		{"refused, of the generation", 403, http.Header{"X-Ebbgate-Gen": {"eu-west-17"}}, true, "eu-west-17"},
		{"refused by the cache", 403, http.Header{"Age": {"0"}}, false, "status 403 without X-Ebbgate-Gen"},
		{"missing at the cache", 404, http.Header{"Cache-Status": {"edge; fwd=miss"}}, false, "status 404"},
		{"redirected by the cache", 301, http.Header{"Age": {"0"}}, false, "status 301"},
		{"nothing", 0, http.Header{}, false, "neither"},
		{"earlier generation of the same content", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-15"}, "Age": {"9999"}}, true, "eu-west-15, the same release"},
		{"two generations", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-17", "eu-west-9"}, "Age": {"0"}}, false, `X-Ebbgate-Gen is both "eu-west-17" and "eu-west-9"`},
		{"two generations, the older first", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-9", "eu-west-17"}}, false, `is both "eu-west-9" and "eu-west-17"`},
		{"one of them blank", 0, http.Header{"X-Ebbgate-Gen": {"", "eu-west-9"}, "Age": {"0"}}, false, "is both"},
		{"one generation twice", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-17", "eu-west-17"}}, true, "eu-west-17"},
		{"two generations on a line", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-9, eu-west-17"}}, false, "bad generation"},
		{"two ages", 0, http.Header{"Age": {"0", "3600"}}, false, `Age is both "0" and "3600"`},
		{"two ages beside a generation", 0, http.Header{"X-Ebbgate-Gen": {"eu-west-17"}, "Age": {"0", "3600"}}, true, "eu-west-17"},
		{"one age twice", 0, http.Header{"Age": {"5", "5"}}, true, "age 5"},
		{"that of another region", 0, http.Header{"X-Ebbgate-Gen": {"us-east-15"}}, false, "of another region"},
	} {
		seen, fresh := judge(cmp.Or(test.status, 200), test.header, "X-Ebbgate-Gen", want, now)
		if fresh != test.fresh || !strings.Contains(seen, test.seen) {
			t.Errorf("%s: %q fresh %v", test.name, seen, fresh)
		}
	}
	if _, fresh := judge(200, http.Header{"Age": {"0"}}, "X-Ebbgate-Gen", Want{Region: "eu-west"}, now); fresh {
		t.Error("an age without the time of the purge proves something")
	}
}

func TestProbe(t *testing.T) {
	var connections, closed atomic.Int64
	edge := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
			return
		case r.URL.Path == "/error":
			w.Header().Set("X-Ebbgate-Gen", "eu-west-17")
			w.WriteHeader(http.StatusBadGateway)
			return
		case r.Host == "www.example.com":
			w.Header().Set("X-Gen", "eu-west-17")
			fmt.Fprint(w, strings.Repeat("x", 1<<20)) // not read to its end
		}
	}))
	edge.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	edge.Start()
	defer edge.Close()
	address := strings.TrimPrefix(edge.URL, "http://")
	p, err := NewProbe(ProbeConfig{Header: "X-Gen", Timeout: 5 * time.Second, Vantages: []Vantage{
		{Name: "named cache", URL: "http://www.example.com/", Address: address},
		{Name: "other host", URL: edge.URL + "/", Host: "www.example.com"},
		{Name: "plain", URL: edge.URL + "/"},
		{Name: "redirect", URL: edge.URL + "/redirect", Host: "www.example.com"},
		{Name: "error", URL: edge.URL + "/error"},
		{Name: "gone", URL: "http://www.example.com/", Address: "127.0.0.1:1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		evidence, err := p.Verify(t.Context(), Want{Region: "eu-west", Epoch: 17})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range evidence {
			if e.Fresh != (i < 2) || e.Wanted != "eu-west-17" {
				t.Errorf("%s", e)
			}
		}
	}
	if n := connections.Load(); n != 10 {
		t.Errorf("%d connections for 10 requests", n)
	}
	for deadline := time.Now().Add(5 * time.Second); closed.Load() != 10; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 10 connections were closed", closed.Load())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if evidence, err := p.Verify(ctx, Want{Region: "eu-west"}); err == nil || evidence[0].Fresh {
		t.Errorf("cancelled: %v %v", evidence[0], err)
	}
}

// What a cache says is kept with the purge: it is one line, and not a long one.
func TestEvidenceIsBounded(t *testing.T) {
	for name, gen := range map[string]string{
		"foreign": strings.Repeat("a", 200_000) + "-17",
		"zeros":   "eu-west-" + strings.Repeat("0", 200_000) + "17",
	} {
		edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Ebbgate-Gen", gen) }))
		defer edge.Close()
		p, err := NewProbe(ProbeConfig{Vantages: []Vantage{{Name: "near", URL: edge.URL}}})
		if err != nil {
			t.Fatal(err)
		}
		evidence, err := p.Verify(t.Context(), Want{Region: "eu-west", Epoch: 17})
		if err != nil || len(evidence[0].Seen) > 310 || !strings.HasPrefix(evidence[0].Seen, gen[:20]) {
			t.Errorf("%s: %d bytes, %v", name, len(evidence[0].Seen), err)
		}
	}
	raw := listen(t, "HTTP/1.1 200 OK\r\nb\u202e\u0085ad\r\n\r\n")
	p, err := NewProbe(ProbeConfig{Vantages: []Vantage{{Name: "near", URL: raw}}})
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := p.Verify(t.Context(), Want{Region: "eu-west", Epoch: 17})
	if err != nil || strings.ContainsAny(evidence[0].Seen, "\u202e\u0085\n") || !strings.Contains(evidence[0].Seen, "no answer") {
		t.Errorf("%q, %v", evidence[0].Seen, err)
	}
}

// listen answers every connection with the same bytes.
func listen(t *testing.T, answer string) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(answer))
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestProbeConfig(t *testing.T) {
	good := Vantage{Name: "lab", URL: "https://www.example.com/"}
	for name, c := range map[string]ProbeConfig{
		"none":    {},
		"url":     {Vantages: []Vantage{{Name: "lab", URL: "www.example.com"}}},
		"name":    {Vantages: []Vantage{{URL: good.URL}}},
		"address": {Vantages: []Vantage{{Name: "lab", URL: good.URL, Address: "127.0.0.1"}}},
		"timeout": {Vantages: []Vantage{good}, Timeout: -1},
	} {
		if _, err := NewProbe(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("eu-west-17", "", "")
	f.Add("", "5", "")
	f.Add("", "", "edge; fwd=miss")
	f.Fuzz(func(t *testing.T, gen, age, status string) {
		h := http.Header{"X-Ebbgate-Gen": {gen}, "Age": {age}, "Cache-Status": {status}}
		now := time.Unix(1e9, 0)
		_, fresh := judge(200, h, "X-Ebbgate-Gen", Want{Region: "eu-west", Epoch: 17, PurgedAt: now.Add(-time.Minute)}, now)
		if fresh && gen != "" && !strings.HasPrefix(gen, "eu-west-") {
			t.Errorf("generation %q is fresh", gen)
		}
	})
}
