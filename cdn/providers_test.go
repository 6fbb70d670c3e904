package cdn_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cloudflare"
	"github.com/ebbgate/ebbgate/cdn/cloudfront"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/cdn/httppurge"
	"github.com/ebbgate/ebbgate/cdn/varnish"
)

// secrets of every provider under test.
const (
	canary  = "canary-token-7f3a"
	session = "canary-session-91"
)

// providers builds every Purger against one server. Each has the scope "scope".
var providers = map[string]func(endpoint string) (cdn.Purger, error){
	"fastly": func(endpoint string) (cdn.Purger, error) {
		return fastly.New(fastly.Config{
			Token: canary, Endpoint: endpoint, Timeout: 5 * time.Second,
			Fences: map[string]string{"scope": "dictionary"}, Spread: time.Millisecond,
		})
	},
	"cloudflare": func(endpoint string) (cdn.Purger, error) {
		return cloudflare.New(cloudflare.Config{Token: canary, Plan: cloudflare.Enterprise, Endpoint: endpoint, Timeout: 5 * time.Second})
	},
	"cloudfront": func(endpoint string) (cdn.Purger, error) {
		return cloudfront.New(cloudfront.Config{
			Credentials: cloudfront.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: canary, SessionToken: session},
			Endpoint:    endpoint, Timeout: 5 * time.Second,
		})
	},
	"varnish": func(endpoint string) (cdn.Purger, error) {
		return varnish.New(varnish.Config{Token: canary, Groups: map[string][]string{"scope": {endpoint}}, Timeout: 5 * time.Second})
	},
	"http": func(endpoint string) (cdn.Purger, error) {
		return httppurge.New(httppurge.Config{
			Token: canary, Groups: map[string][]string{"scope": {endpoint}}, Timeout: 5 * time.Second,
			KeyHeader: "Surrogate-Key", KeySeparator: " ", AllPath: "/",
		})
	},
}

// each runs a test for every provider against a server of its own.
func each(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, p cdn.Purger, s *server)) {
	for name, build := range providers {
		t.Run(name, func(t *testing.T) {
			s := serve(t, handler)
			p, err := build(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			test(t, p, s)
		})
	}
}

// server remembers what it was asked.
type server struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string // method and URL of each request; guarded by mu
}

func serve(t *testing.T, handler http.HandlerFunc) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.Host+" "+r.RequestURI)
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func one(kind cdn.Kind, value string) cdn.Request {
	return cdn.Request{Scope: "scope", Selectors: []cdn.Selector{{Kind: kind, Value: value}}}
}

// A connection that was never made carried no purge.
func TestNoConnectionIsRetryable(t *testing.T) {
	each(t, http.NotFound, func(t *testing.T, p cdn.Purger, s *server) {
		s.Close()
		if _, err := p.Purge(t.Context(), one(cdn.URL, "https://www.example.com/a")); cdn.ClassOf(err) != cdn.Retryable {
			t.Errorf("error %v, want retryable", err)
		}
	})
}
