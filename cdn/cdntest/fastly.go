package cdntest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/ebbgate/ebbgate/cdn"
)

// FastlyConfig of a stand-in for api.fastly.com.
type FastlyConfig struct {
	Token        string      // what Fastly-Key must be; required
	Services     []string    // known service ids; empty means any
	CallsPerHour int         // purge-all and writes count against it; default 1000
	OnPurge      func(Purge) // called for each purge carried out; may be nil

	Dictionaries []string      // known dictionary ids; empty means any
	Spread       time.Duration // until the edge has a dictionary item; default none, really about 30 s
}

// Fastly answers the endpoints of purges and of dictionary items as
// developer.fastly.com documents them.
type Fastly struct {
	standIn
	config FastlyConfig
	hourly *rate.Limiter

	items map[string][]itemWrite // service, dictionary and key → values over time; guarded by standIn.mu
}

func NewFastly(c FastlyConfig) *Fastly {
	if c.CallsPerHour == 0 {
		c.CallsPerHour = 1000
	}
	return &Fastly{
		standIn: standIn{onPurge: c.OnPurge}, config: c,
		hourly: rate.NewLimiter(rate.Limit(float64(c.CallsPerHour)/3600), c.CallsPerHour),
		items:  map[string][]itemWrite{},
	}
}

func (f *Fastly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := f.next()
	if !f.begin(w, r, fault) {
		return
	}
	if fault.Status != 0 {
		fastlyError(w, fault.Status, http.StatusText(fault.Status), fault.Message)
		return
	}
	if target, ok := strings.CutPrefix(r.RequestURI, "/purge/"); ok {
		f.url(w, r, target, fault)
		return
	}
	if r.Header.Get("Fastly-Key") != f.config.Token {
		fastlyError(w, http.StatusUnauthorized, "Provided credentials are missing or invalid", "")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 3 || parts[0] != "service" {
		fastlyError(w, http.StatusNotFound, "Record not found", r.URL.Path)
		return
	}
	service := parts[1]
	if len(f.config.Services) > 0 && !slices.Contains(f.config.Services, service) {
		fastlyError(w, http.StatusNotFound, "Record not found", "Cannot find service "+service)
		return
	}
	if len(parts) == 6 && parts[2] == "dictionary" && parts[4] == "item" {
		f.dictionary(w, r, itemPath{service, parts[3], parts[5]}, fault)
		return
	}
	if r.Method != http.MethodPost {
		fastlyError(w, http.StatusMethodNotAllowed, "Method not allowed", r.Method)
		return
	}
	switch {
	case len(parts) == 3 && parts[2] == "purge":
		f.keys(w, r, service, fault)
	case len(parts) == 4 && parts[2] == "purge":
		f.done(f.purge(r, service, cdn.Selector{Kind: cdn.Key, Value: parts[3]}), fault)
		answer(w, http.StatusOK, map[string]string{"status": "ok", "id": f.id(0)})
	case len(parts) == 3 && parts[2] == "purge_all":
		f.all(w, r, service, fault)
	default:
		fastlyError(w, http.StatusNotFound, "Record not found", r.URL.Path)
	}
}

// url needs no token, which is Fastly's default.
func (f *Fastly) url(w http.ResponseWriter, r *http.Request, target string, fault Fault) {
	// Fastly's cache key has no scheme; the record says https.
	f.done(f.purge(r, "", cdn.Selector{Kind: cdn.URL, Value: "https://" + target}), fault)
	answer(w, http.StatusOK, map[string]string{"status": "ok", "id": f.id(0)})
}

func (f *Fastly) keys(w http.ResponseWriter, r *http.Request, service string, fault Fault) {
	keys := strings.Fields(r.Header.Get("Surrogate-Key"))
	if len(keys) == 0 {
		var body struct {
			Keys []string `json:"surrogate_keys"`
		}
		_ = json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body)
		keys = body.Keys
	}
	if len(keys) == 0 || len(keys) > 256 {
		fastlyError(w, http.StatusBadRequest, "Bad request", fmt.Sprintf("1 to 256 keys, not %d", len(keys)))
		return
	}
	ids := map[string]string{}
	purge := f.purge(r, service)
	for i, key := range keys {
		if slices.Contains(fault.OmitKeys, key) {
			continue
		}
		purge.Selectors = append(purge.Selectors, cdn.Selector{Kind: cdn.Key, Value: key})
		ids[key] = f.id(i)
	}
	f.done(purge, fault)
	answer(w, http.StatusOK, ids)
}

func (f *Fastly) all(w http.ResponseWriter, r *http.Request, service string, fault Fault) {
	if !f.counted(w) {
		return
	}
	f.done(f.purge(r, service, cdn.Selector{Kind: cdn.All}), fault)
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// counted takes one of the calls of this hour; false means that the answer was
// given.
func (f *Fastly) counted(w http.ResponseWriter) bool {
	reset := time.Now().Add(time.Hour).Truncate(time.Second).Unix()
	allowed := f.hourly.Allow()
	w.Header().Set("Fastly-RateLimit-Remaining", strconv.Itoa(int(max(0, f.hourly.Tokens()))))
	w.Header().Set("Fastly-RateLimit-Reset", strconv.FormatInt(reset, 10))
	if !allowed {
		fastlyError(w, http.StatusTooManyRequests, "You have exceeded your hourly rate limit", "")
	}
	return allowed
}

func (f *Fastly) purge(r *http.Request, service string, selectors ...cdn.Selector) Purge {
	return Purge{Provider: "fastly", Scope: service, Selectors: selectors, Soft: r.Header.Get("Fastly-Soft-Purge") != ""}
}

func (f *Fastly) id(n int) string {
	return fmt.Sprintf("108-%d-%d", time.Now().Unix(), f.Calls()*1000+n)
}

func fastlyError(w http.ResponseWriter, status int, msg, detail string) {
	answer(w, status, map[string]string{"msg": msg, "detail": detail})
}
