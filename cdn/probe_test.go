package cdn

import (
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
		header http.Header
		fresh  bool
		seen   string
	}{
		{"wanted generation", http.Header{"X-Ebbgate-Gen": {"eu-west-17"}, "Age": {"9999"}}, true, "eu-west-17"},
		{"later generation", http.Header{"X-Ebbgate-Gen": {"eu-west-100"}}, true, "eu-west-100"},
		{"older generation", http.Header{"X-Ebbgate-Gen": {"eu-west-9"}, "Age": {"0"}}, false, "eu-west-9"},
		{"earlier generation of the same content", http.Header{"X-Ebbgate-Gen": {"eu-west-15"}, "Age": {"9999"}}, true, "eu-west-15, the same release"},
		{"that of another region", http.Header{"X-Ebbgate-Gen": {"us-east-15"}}, false, "of another region"},
		{"another region", http.Header{"X-Ebbgate-Gen": {"us-east-99"}}, false, "of another region"},
		{"no generation", http.Header{"X-Ebbgate-Gen": {"17"}}, false, "bad generation"},
		{"young", http.Header{"Age": {"9"}}, true, "age 9"},
		{"as old as the purge", http.Header{"Age": {"10"}}, false, "age 10"},
		{"old", http.Header{"Age": {"3600"}}, false, "age 3600"},
		{"negative age", http.Header{"Age": {"-1"}}, false, "bad Age"},
		{"forwarded", http.Header{"Cache-Status": {"edge; fwd=miss; stored", "shield; fwd=uri-miss"}}, true, "Cache-Status"},
		{"hit behind a miss", http.Header{"Cache-Status": {"shield; hit; ttl=30, edge; fwd=miss"}}, false, "Cache-Status"},
		{"nothing", http.Header{}, false, "neither"},
	} {
		seen, fresh := judge(test.header, "X-Ebbgate-Gen", want, now)
		if fresh != test.fresh || !strings.Contains(seen, test.seen) {
			t.Errorf("%s: %q fresh %v", test.name, seen, fresh)
		}
	}
	if _, fresh := judge(http.Header{"Age": {"0"}}, "X-Ebbgate-Gen", Want{Region: "eu-west"}, now); fresh {
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
		_, fresh := judge(h, "X-Ebbgate-Gen", Want{Region: "eu-west", Epoch: 17, PurgedAt: now.Add(-time.Minute)}, now)
		if fresh && gen != "" && !strings.HasPrefix(gen, "eu-west-") {
			t.Errorf("generation %q is fresh", gen)
		}
	})
}
