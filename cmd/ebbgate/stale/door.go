package stale

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// manner is how the caches take purges in a scenario.
type manner struct {
	// unfenced caches hold no fence, as those that do not run our VCL: they are told of it
	// and answer yes, so that the controller goes on.
	unfenced bool
	// lag is how long a shield takes to carry out a purge, after the edge has.
	lag time.Duration
	// losing caches carry out the first two calls of a method and never say so: the
	// connection ends, and at a shield's first purge not before the caller gives up.
	losing bool
}

// call is what a door passed on, or held back.
type call struct {
	region wire.Region
	tier   tier
	method string // PURGE or FENCE
	done   int64  // Unix nanoseconds: when the cache had answered
}

// doors stand before the purge endpoints of all caches.
type doors struct {
	address string
	server  *http.Server
	client  *http.Client

	mu     sync.Mutex        // guards all below
	to     map[string]string // path → address of the cache
	manner manner
	begun  map[string]int // path and method → calls
	calls  []call
}

func openDoors() (*doors, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &doors{address: l.Addr().String(), client: &http.Client{}, to: make(map[string]string), begun: make(map[string]int)}
	d.server = &http.Server{Handler: d, ReadHeaderTimeout: answerTime}
	go serve(d.server, l)
	return d, nil
}

func (d *doors) close() { d.server.Close() }

// url is the base URL of a cache as the controller is told it.
func (d *doors) url(r wire.Region, t tier) string { return "http://" + d.address + doorPath(r, t) }

func doorPath(r wire.Region, t tier) string { return "/" + string(r) + "/" + string(t) }

// lead says where the cache behind a door listens.
func (d *doors) lead(r wire.Region, t tier, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to[doorPath(r, t)] = address
}

// begin forgets the calls so far; from now on the caches behave in this manner.
func (d *doors) begin(m manner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.manner, d.calls, d.begun = m, nil, make(map[string]int)
}

// passed returns the calls since begin.
func (d *doors) passed() []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]call(nil), d.calls...)
}

// purged returns how many purges every cache of the region has carried out, and how many
// any of them has begun.
func (d *doors) purged(r wire.Region) (every, any int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := make(map[tier]int)
	for _, c := range d.calls {
		if c.region == r && c.method == methodPurge {
			done[c.tier]++
		}
	}
	every = done[shield]
	for _, t := range tiers {
		every = min(every, done[t])
		any = max(any, d.begun[doorPath(r, t)+methodPurge])
	}
	return every, any
}

const (
	methodPurge = "PURGE"
	methodFence = "FENCE"
)

func (d *doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.begun[r.URL.Path+r.Method]++
	n, to, m := d.begun[r.URL.Path+r.Method], d.to[r.URL.Path], d.manner
	d.mu.Unlock()
	_, name, _ := strings.Cut(r.URL.Path, "/")
	region, t, _ := strings.Cut(name, "/")
	if m.unfenced && r.Method == methodFence {
		w.Header().Set("Ebbgate-Accepted", "1")
		return
	}
	if m.lag > 0 && tier(t) == shield {
		time.Sleep(m.lag)
	}
	// Not the caller's context: what is under way is carried out, whoever has given up.
	resp, err := d.pass(r, to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	d.mu.Lock()
	d.calls = append(d.calls, call{wire.Region(region), tier(t), r.Method, time.Now().UnixNano()})
	d.mu.Unlock()
	switch {
	case m.losing && n == 1 && r.Method == methodPurge && tier(t) == shield:
		<-r.Context().Done()
		return
	case m.losing && n <= 2:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
}

// pass repeats the call to the cache and reads the answer to its end.
func (d *doors) pass(r *http.Request, to string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+to+"/", nil)
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}
