package cdntest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
)

// Purge is one purge that a stand-in carried out.
type Purge struct {
	At        time.Time
	Provider  string // "fastly", "cloudflare" or "cloudfront"
	Scope     string // service, zone or distribution; empty for a Fastly URL purge
	Selectors []cdn.Selector
	Soft      bool

	Environment string              // Cloudflare: the environment of the zone, if it was narrowed to one
	Variants    []map[string]string // Cloudflare, of URLs: headers of each selector; nil for one without
}

// Fault changes the treatment of one request. The zero value changes nothing.
type Fault struct {
	Delay       time.Duration // wait first, unless the client gives up
	LoseRequest bool          // close the connection without doing anything
	LoseReply   bool          // do it, then close the connection without an answer
	Status      int           // answer with this status and do nothing
	RetryAfter  string        // with Status: the Retry-After header, as given
	Message     string        // with Status, or with Code: what the answer says
	Code        int           // Cloudflare: answer 200 with success:false and this code, do nothing
	Reason      string        // CloudFront, with Status: the error code, for example Throttling
	OmitKeys    []string      // Fastly: leave these keys out of the purge and of the answer
	Body        string        // answer 200 with exactly this, do nothing
}

// standIn is what the stand-ins share: faults in order, and a record.
type standIn struct {
	onPurge func(Purge)

	mu     sync.Mutex
	faults []Fault // one per coming request; guarded by mu
	purges []Purge // guarded by mu
	calls  int     // requests that arrived; guarded by mu
}

// Inject queues faults; each coming request uses up one.
func (s *standIn) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Purges returns every purge carried out so far, in order.
func (s *standIn) Purges() []Purge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.purges)
}

// Calls returns how many requests arrived, whatever became of them.
func (s *standIn) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *standIn) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if len(s.faults) == 0 {
		return Fault{}
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault
}

// maxBody bounds a request: 3,000 paths of 4,000 bytes.
const maxBody = 16 << 20

// begin applies the part of a fault that comes before the request is looked
// at; false means that an answer was given.
func (s *standIn) begin(w http.ResponseWriter, r *http.Request, f Fault) bool {
	if f.Delay > 0 {
		// Only with the body read does net/http notice that a client gives up.
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		r.Body = io.NopCloser(bytes.NewReader(body))
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	if f.LoseRequest {
		panic(http.ErrAbortHandler)
	}
	if f.Body != "" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(f.Body))
		return false
	}
	if f.Status != 0 && f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	return true
}

// done records a purge and lets the cache behind the stand-in follow it.
func (s *standIn) done(p Purge, f Fault) {
	p.At = time.Now()
	s.mu.Lock()
	s.purges = append(s.purges, p)
	s.mu.Unlock()
	if s.onPurge != nil {
		s.onPurge(p)
	}
	if f.LoseReply {
		panic(http.ErrAbortHandler)
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
