package stale

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request whose connection is closed is asked once and has no answer; the next one goes
// over a new connection. Connections are kept otherwise.
func TestCallerNeverRetries(t *testing.T) {
	var asked, connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/gone" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Ebbgate-Gen", "edge-proxy.eu-west-7")
		w.Header().Set("X-Ebbgate-Release", "1.4.0-0123456789ab@7")
		w.Header().Set(cacheHeader, "hit")
		version := "1.4.0"
		if r.URL.Path == "/torn" {
			version = "1.3.0"
		}
		_, _ = io.WriteString(w, page(version))
	}))
	server.Config.ErrorLog = nil
	server.Listener = counted{server.Listener, &connections}
	server.Start()
	defer server.Close()
	c := &caller{address: strings.TrimPrefix(server.URL, "http://")}
	defer c.close()
	for i, want := range []struct {
		path        string
		status      int
		torn        bool
		connections int32
	}{
		{"/", 200, false, 1}, {"/", 200, false, 1}, {"/gone", 0, false, 1}, {"/torn", 200, true, 2}, {"/", 200, false, 2},
	} {
		before := time.Now().UnixNano()
		a := c.ask(want.path)
		if a.status != want.status || a.torn != want.torn || a.good() && (a.epoch != 7 || !a.hit) {
			t.Errorf("request %d: %+v, want %+v", i, a, want)
		}
		if a.asked < before || a.answered < a.asked {
			t.Errorf("request %d: asked at %d, answered at %d, begun at %d", i, a.asked, a.answered, before)
		}
		if got := fmt.Sprint(asked.Load(), connections.Load()); got != fmt.Sprint(i+1, want.connections) {
			t.Errorf("after request %d: %s requests and connections, want %d %d", i, got, i+1, want.connections)
		}
	}
}
