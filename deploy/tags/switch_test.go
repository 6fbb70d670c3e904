package tags_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// mixed reports an answer for /page whose header and body are of different releases.
func mixed(a answer, byGeneration map[string]dataplane.Release) error {
	r, known := byGeneration[a.header.Get(tags.HeaderGeneration)]
	if !known {
		return fmt.Errorf("generation %q", a.header.Get(tags.HeaderGeneration))
	}
	if a.status == http.StatusOK && a.body != string(r.Version) {
		return fmt.Errorf("the body is of %s, the header of %s", a.body, r.ID())
	}
	return shows(a.header, r)
}

// TestHeadersFollowTheRelease switches back and forth under requests, on fresh and on
// kept-alive connections. No answer is of two releases, and after a switch is confirmed, no
// fresh connection sees the release before it.
func TestHeadersFollowTheRelease(t *testing.T) {
	eachServer(t, func(t *testing.T, s *site) {
		releases := make(map[string]dataplane.Release)
		one := s.release(1, "1.4.0")
		releases[one.Identity().Generation] = one
		s.activate(one)
		next := []dataplane.Release{s.release(2, "1.4.1"), s.release(3, "1.4.2"), s.release(4, "1.5"), one}
		next[3].Epoch = 5 // back to older content is a new epoch
		for _, r := range next {
			releases[r.Identity().Generation] = r
		}
		var stop atomic.Bool
		var asked atomic.Int64
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				var kept http.RoundTripper
				if i == 0 {
					kept = &http.Transport{}
				}
				for !stop.Load() {
					a, err := s.ask(t.Context(), kept, "GET", "/page")
					if err != nil {
						continue // a connection that a reload closed; not judged here
					}
					asked.Add(1)
					if err := mixed(a, releases); err != nil {
						t.Errorf("answer %d: %v", asked.Load(), err)
						return
					}
				}
			})
		}
		for _, r := range next {
			before := asked.Load()
			s.activate(r)
			if asked.Load() == before {
				t.Errorf("no answer during the switch to %s: there was no load", r.ID())
			}
			for range 20 {
				if err := shows(s.mustAsk("GET", "/page").header, r); err != nil {
					t.Errorf("after the switch to %s: %v", r.ID(), err)
				}
			}
		}
		stop.Store(true)
		wg.Wait()
		t.Logf("%d answers under %d switches", asked.Load(), len(next))
	})
}

// A server that reads its content through a link, and is reloaded after the link has
// changed, is what the templates are for. The driver refuses `current` itself; any other
// link shows that the tests here would see the mix.
func TestContentThroughALinkMixes(t *testing.T) {
	for _, name := range []string{"nginx", "caddy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, name)
			current := s.release(9, "9")
			s.edit = func(snippet string) string { return strings.ReplaceAll(snippet, "@release@", s.cfg.Current) }
			if err := s.plane.Validate(t.Context(), s.release(9, "9.1")); err == nil || !strings.Contains(err.Error(), "use @release@") {
				t.Errorf("a template that names current: %v", err)
			}
			link := filepath.Join(s.dir, "link")
			s.edit = func(snippet string) string { return strings.ReplaceAll(snippet, "@release@", link) }
			one := s.release(1, "1.4.0")
			flip(t, link, one.Dir)
			s.activate(one)
			flip(t, link, current.Dir)
			err := mixed(s.mustAsk("GET", "/page"), map[string]dataplane.Release{one.Identity().Generation: one})
			if err == nil || !strings.Contains(err.Error(), "the body is of 9, the header of "+one.ID()) {
				t.Errorf("no mix: %v", err)
			}
		})
	}
}

// reloaded are the servers that a hook makes load another release.
var reloaded = []string{"caddy", "haproxy", "nginx", "varnish"}

// A connection from before the switch does not answer from the old release for long: what
// comes after the second purge would stay in a cache.
func TestKeptConnectionsLetGoOfTheOldRelease(t *testing.T) {
	eachServer(t, func(t *testing.T, s *site) {
		s.activate(s.release(1, "1.4.0"))
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		ask := func() (http.Header, error) {
			if _, err := fmt.Fprintf(conn, "GET /page HTTP/1.1\r\nHost: %s\r\n\r\n", s.addr); err != nil {
				return nil, err
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				return nil, err
			}
			_, err = io.Copy(io.Discard, res.Body)
			return res.Header, errors.Join(err, res.Body.Close())
		}
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
		two := s.release(2, "1.4.1")
		s.activate(two)
		if s.replaced {
			begin := time.Now()
			conn.SetReadDeadline(begin.Add(10 * time.Second)) // of a second or so, on a machine that is busy
			_, err := in.Peek(1)
			t.Logf("let go after %s: %v", time.Since(begin), err)
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection is still kept: %v", err)
			}
			return
		}
		h, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if err := shows(h, two); err != nil {
			t.Error(err)
		}
	})
}

// Values that a server shows are read back, whatever its reload said.
func TestReloadThatDoesNothingIsNotConfirmed(t *testing.T) {
	for _, name := range reloaded {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, name)
			s.activate(s.release(1, "1.4.0"))
			two := s.release(2, "1.4.1")
			two.Hooks = nil
			flip(t, s.cfg.Current, two.Dir)
			if err := s.plane.Activate(t.Context(), two); err != nil {
				t.Fatal(err)
			}
			s.mustNotConfirm(two, "1.4.0")
		})
	}
}

// A template that the server refuses leaves the old release whole, header and body.
func TestRefusedTemplateLeavesTheOldRelease(t *testing.T) {
	for _, name := range reloaded {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, name)
			one := s.release(1, "1.4.0")
			s.activate(one)
			s.routes += "\nnonsense here\n"
			two := s.release(2, "1.4.1")
			flip(t, s.cfg.Current, two.Dir)
			// HAProxy's master says nothing of a reload that failed: then Confirm does.
			if err := s.plane.Activate(t.Context(), two); err == nil {
				s.mustNotConfirm(two, one.ID())
			}
			if err := mixed(s.mustAsk("GET", "/page"), map[string]dataplane.Release{"shop.eu-west-1": one}); err != nil {
				t.Error(err)
			}
			back := one
			back.Epoch = 3
			s.activate(back)
		})
	}
}

func (s *site) mustNotConfirm(r dataplane.Release, shown string) {
	s.t.Helper()
	cfg := s.cfg
	cfg.Timeout = wire.Duration(2 * time.Second)
	plane, err := dataplane.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := plane.Confirm(s.t.Context(), r); err == nil || !strings.Contains(err.Error(), shown) {
		s.t.Errorf("Confirm: %v, want that it shows %s", err, shown)
	}
}
