package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// The gap is that of the first purge of this epoch that really left, not of an earlier
// epoch, of one before the rollout, or of the repetition.
func TestPurgeSent(t *testing.T) {
	tokens, err := api.ParseTokens([]byte(api.TokenLine("me", api.RoleViewer, "secret")))
	if err != nil {
		t.Fatal(err)
	}
	fake := apitest.New(nil)
	s, err := api.New(api.Config{Controller: fake, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	cl, err := api.NewClient(api.ClientConfig{Server: srv.URL, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()

	film := apitest.Film(rollout.StatusDone)
	w := &watcher{client: cl, last: film[5], sent: make(map[purgeRound]time.Time)} // purged
	purge := w.last.Summary.Regions[0].Purge
	purge.Verified = time.Time{}
	w.last.Summary.Rollout.Waves[0].Regions[0].Purge = purge
	line := func() string {
		return tree{width: 200, sent: w.purges(t.Context())}.render(w.last.Summary)
	}
	fake.Sent(apitest.App, "eu-west", purge.Epoch, time.Time{})
	fake.Sent(apitest.App, "eu-west", purge.Epoch-1, purge.Requested.Add(time.Millisecond))
	fake.Sent(apitest.App, "eu-west", purge.Epoch, purge.Requested.Add(-time.Hour))
	if got := line(); !strings.Contains(got, "purge sent – → verified –") || strings.Contains(got, "gap") {
		t.Errorf("nothing has left yet:\n%s", got)
	}
	fake.Sent(apitest.App, "eu-west", purge.Epoch, purge.Requested.Add(2*time.Second))
	fake.Sent(apitest.App, "eu-west", purge.Epoch, purge.Requested.Add(30*time.Millisecond))
	if got := line(); !strings.Contains(got, "gap 42ms") { // 12 ms to the decision, 30 ms to the provider
		t.Errorf("the gap is not 42ms:\n%s", got)
	}
}
