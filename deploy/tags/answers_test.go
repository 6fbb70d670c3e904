package tags_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// eachServer runs f on every snippet.
func eachServer(t *testing.T, f func(t *testing.T, s *site)) {
	for _, name := range wire.Keys(servers) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newSite(t, name))
		})
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends one request, on a fresh connection unless client says otherwise.
func (s *site) ask(ctx context.Context, client http.RoundTripper, method, path string) (answer, error) {
	if client == nil {
		t := &http.Transport{DisableKeepAlives: true}
		defer t.CloseIdleConnections()
		client = t
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, nil)
	if err != nil {
		return answer{}, err
	}
	res, err := client.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func (s *site) mustAsk(method, path string) answer {
	s.t.Helper()
	a, err := s.ask(s.t.Context(), nil, method, path)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// shows reports how an answer's headers differ from what r and the origin have to say.
func shows(h http.Header, r dataplane.Release, origin ...string) error {
	id := r.Identity()
	for _, want := range [][2]string{{tags.HeaderGeneration, id.Generation}, {tags.HeaderRelease, id.Release}} {
		if got := h.Values(want[0]); len(got) != 1 || got[0] != want[1] {
			return fmt.Errorf("%s is %q, want once %q", want[0], got, want[1])
		}
	}
	for _, kind := range [][2]string{{"Surrogate-Key", " "}, {"Cache-Tag", ","}} {
		ours := strings.Join(id.Tags(), kind[1])
		var all []string
		for _, line := range h.Values(kind[0]) {
			// A provider that looks at the first line, or cuts a long one, has ours.
			if line != ours && !strings.HasPrefix(line, ours+kind[1]) {
				return fmt.Errorf("%s: %q does not begin with %q", kind[0], line, ours)
			}
			for _, tag := range strings.Split(line, kind[1]) {
				if !slices.Contains(all, tag) {
					all = append(all, tag)
				}
			}
		}
		if diff := cmp.Diff(append(id.Tags(), origin...), all); diff != "" {
			return fmt.Errorf("%s: %s", kind[0], diff)
		}
	}
	return nil
}

func TestEveryAnswerIsTagged(t *testing.T) {
	eachServer(t, func(t *testing.T, s *site) {
		r := s.release(17, "1.4.0-RC1")
		s.activate(r)
		keys := []string{"pages", "page-1"}
		several := keys
		if s.oneHeader {
			several = keys[:1]
		}
		for _, tt := range []struct {
			path   string
			status int // hundreds
			body   string
			origin []string
		}{
			{"/page", 2, "1.4.0-RC1", nil},
			{s.missing, 4, "", nil},
			{"/moved", 3, "", nil},
			{"/denied", 4, "", nil},
			{"/broken", 5, "", nil},
			{"/api/missing", 4, "", nil},
			{"/api/broken", 5, "broken\n", nil},
			{"/api/keyed", 2, "keyed", keys},
			{"/api/several", 2, "several", several},
			{tags.IdentityPath, 2, string(r.Identity().JSON()), nil},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := s.mustAsk(method, tt.path)
				if a.status/100 != tt.status || method == "GET" && tt.body != "" && a.body != tt.body {
					t.Errorf("%s %s: %d %q, want %dxx %q", method, tt.path, a.status, a.body, tt.status, tt.body)
				}
				if err := shows(a.header, r, tt.origin...); err != nil {
					t.Errorf("%s %s: %v", method, tt.path, err)
				}
			}
		}
		// What shows which release serves must not come out of a cache.
		if cc := s.mustAsk("GET", tags.IdentityPath).header.Get("Cache-Control"); cc != "no-store" && cc != "no-cache" {
			t.Errorf("Cache-Control of the identity is %q", cc)
		}
	})
}

// A purge by what is lower-cased here must find what a server shows.
func TestTagsAreInLowerCase(t *testing.T) {
	s := newSite(t, "net-http")
	r := s.release(1, "1.4.0-RC1")
	s.activate(r)
	if got := s.mustAsk("GET", "/page").header.Get("Surrogate-Key"); got != "bundle:1.4.0-rc1 region:eu-west gen:shop.eu-west-1" {
		t.Error(got)
	}
}
