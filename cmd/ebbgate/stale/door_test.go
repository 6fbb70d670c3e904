package stale

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const token = "varnish-token-of-the-stale-test"

// counted counts the connections of a listener.
type counted struct {
	net.Listener
	n *atomic.Int32
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// A door passes purges and fences on in the manner of the scenario, and says what the
// cache has carried out.
func TestDoors(t *testing.T) {
	var purges, fences atomic.Int32
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ebbgate-Token") != token {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		if r.Method == methodFence {
			fences.Add(1)
		} else {
			purges.Add(1)
		}
		w.Header().Set("Ebbgate-Accepted", "1")
	}))
	defer cache.Close()
	d, err := openDoors()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for _, at := range tiers {
		d.lead("eu-west", at, strings.TrimPrefix(cache.URL, "http://"))
	}
	ask := func(method string, at tier, limit time.Duration) bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, d.url("eu-west", at), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Ebbgate-Token", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK && resp.Header.Get("Ebbgate-Accepted") == "1"
	}
	carried := func(purge, fence int32) {
		t.Helper()
		if p, f := purges.Swap(0), fences.Swap(0); p != purge || f != fence {
			t.Errorf("the cache carried out %d purges and %d fences, want %d and %d", p, f, purge, fence)
		}
	}

	d.begin(manner{})
	if !ask(methodFence, edge, answerTime) || !ask(methodPurge, edge, answerTime) {
		t.Error("a plain call is not answered")
	}
	if every, any := d.purged("eu-west"); every != 0 || any != 1 {
		t.Errorf("after the edge's purge every cache has %d, one %d", every, any)
	}
	if !ask(methodPurge, shield, answerTime) {
		t.Error("a plain call is not answered")
	}
	if every, any := d.purged("eu-west"); every != 1 || any != 1 {
		t.Errorf("after both purges every cache has %d, one %d", every, any)
	}
	carried(2, 1)

	d.begin(manner{unfenced: true})
	if !ask(methodFence, edge, answerTime) || !ask(methodPurge, edge, answerTime) {
		t.Error("a cache without a fence does not answer")
	}
	carried(1, 0)

	const lag = 50 * time.Millisecond
	d.begin(manner{lag: lag})
	began := time.Now()
	if !ask(methodPurge, shield, answerTime) || time.Since(began) < lag {
		t.Errorf("the shield answered after %s, want %s", time.Since(began), lag)
	}
	carried(1, 0)

	d.begin(manner{losing: true})
	const patience = 100 * time.Millisecond
	began = time.Now()
	if ask(methodPurge, shield, patience) || time.Since(began) < patience {
		t.Errorf("the first answer of a shield came, or its end after %s", time.Since(began))
	}
	if ask(methodPurge, shield, answerTime) || ask(methodFence, edge, answerTime) {
		t.Error("an answer was not lost")
	}
	if !ask(methodPurge, shield, answerTime) {
		t.Error("the third answer is lost, too")
	}
	carried(3, 1)
	if n := len(d.passed()); n != 4 {
		t.Errorf("%d calls are told of, want 4", n)
	}
}
