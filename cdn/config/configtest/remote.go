// Package configtest has stand-ins for what the targets of cdn/config talk to, and the
// suite that all targets pass. The stand-ins keep the documented limits, fail on
// request, and are for tests of others too.
package configtest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault changes the treatment of one request. The zero value changes nothing.
type Fault struct {
	Delay       time.Duration // wait first, unless the client gives up
	LoseRequest bool          // close the connection without doing anything
	LoseReply   bool          // do it, then close the connection without an answer
	Then        func()        // called when a request or reply is lost
	Status      int           // answer with this status and do nothing
	RetryAfter  string        // with Status: the Retry-After header
	Message     string        // with Status: what the answer says
	FailKeys    int           // KV: so many keys of a bulk call fail, while it succeeds
}

// Remote is what the stand-ins share: faults, and a record of the requests.
type Remote struct {
	token string

	mu     sync.Mutex    // guards what follows, and what a stand-in holds
	faults map[int]Fault // number of the request → its fault
	calls  []string      // "PATCH /service/…", in order
}

// At lets the nth request from now on, counted from 1, have a fault.
func (r *Remote) At(n int, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults == nil {
		r.faults = map[int]Fault{}
	}
	r.faults[len(r.calls)+n] = f
}

// Calls returns the requests that arrived, whatever became of them: method and path.
func (r *Remote) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

// Outage lets every request fail until it is ended.
func (r *Remote) Outage(f Fault) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = map[int]Fault{0: f}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.faults, 0)
	}
}

// reply is what a stand-in answers.
type reply struct {
	status int
	body   any
	header map[string]string
}

// serve treats one request: the part before, do with the lock held, the part after.
func (r *Remote) serve(w http.ResponseWriter, req *http.Request, refuse func(status int, message string) reply, do func(f Fault) reply) {
	r.mu.Lock()
	r.calls = append(r.calls, req.Method+" "+req.URL.Path)
	f, ok := r.faults[len(r.calls)]
	if !ok {
		f = r.faults[0]
	}
	r.mu.Unlock()
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
		}
	}
	lose := func() {
		if f.Then != nil {
			f.Then()
		}
		panic(http.ErrAbortHandler)
	}
	if f.LoseRequest {
		lose()
	}
	var a reply
	switch {
	case f.Status != 0:
		a = refuse(f.Status, f.Message)
		if f.RetryAfter != "" {
			a.header = map[string]string{"Retry-After": f.RetryAfter}
		}
	case req.Header.Get("Fastly-Key") != r.token && req.Header.Get("Authorization") != "Bearer "+r.token:
		a = refuse(http.StatusUnauthorized, "the credentials "+req.Header.Get("Fastly-Key")+req.Header.Get("Authorization")+" are not known")
	default:
		r.mu.Lock()
		a = do(f)
		r.mu.Unlock()
	}
	if f.LoseReply {
		lose()
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // the client has gone
}

// route matches a path against a pattern whose parts in braces match one part each,
// which are returned in order.
func route(path, pattern string) ([]string, bool) {
	have, want := strings.Split(strings.Trim(path, "/"), "/"), strings.Split(pattern, "/")
	if len(have) != len(want) {
		return nil, false
	}
	var parts []string
	for i := range want {
		switch {
		case want[i] == "*":
			parts = append(parts, have[i])
		case want[i] != have[i]:
			return nil, false
		}
	}
	return parts, true
}

// page cuts out what a list request asks for.
func page[T any](req *http.Request, all []T) []T {
	n, _ := strconv.Atoi(req.URL.Query().Get("page"))
	per, _ := strconv.Atoi(req.URL.Query().Get("per_page"))
	if n < 1 || per < 1 || per > 100 {
		n, per = 1, 100
	}
	from := min((n-1)*per, len(all))
	return all[from:min(from+per, len(all))]
}
