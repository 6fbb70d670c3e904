package cdn_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/cdn/httppurge"
)

// A direct purge, without durability.
func ExamplePurge() {
	api := httptest.NewServer(cdntest.NewFastly(cdntest.FastlyConfig{Token: "secret"}))
	defer api.Close()
	purger, err := fastly.New(fastly.Config{Token: "secret", Endpoint: api.URL})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := cdn.Purge(context.Background(), purger, cdn.Request{
		Scope:     "SU1Z0isxPaozGVKXdv0eY",
		Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "rules"}, {Kind: cdn.URL, Value: "https://www.example.com/"}},
	})
	fmt.Println(len(receipt.IDs), "accepted,", err)
	_, err = cdn.Purge(context.Background(), purger, cdn.Request{
		Scope: "SU1Z0isxPaozGVKXdv0eY", Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "two keys"}},
	})
	fmt.Println(err)
	// Output:
	// 2 accepted, <nil>
	// cannot purge fastly: request.selectors[0]: invalid selector "key:two keys": key contains a space, which separates keys [refused]
}

// Files that changed between two releases decide what is purged.
func ExampleSelect() {
	rules := []cdn.Rule{
		{Files: "rules/**", Selectors: []string{"key:rules@{region}-{epoch}"}},
		{Files: "flags/*.json", Selectors: []string{"key:flags", "prefix:www.example.com/flags/"}},
	}
	selectors, err := cdn.Select(rules, []string{"rules/crs/942.conf", "README"}, cdn.Vars{"region": "eu-west", "epoch": "16"})
	fmt.Println(selectors, err)
	// Output: [key:rules@eu-west-16] <nil>
}

// Purge twice, look at what is served: the whole of it, without durability.
func Example() {
	ctx := context.Background()
	token, serviceID := "secret", "SU1Z0isxPaozGVKXdv0eY"
	api := httptest.NewServer(cdntest.NewFastly(cdntest.FastlyConfig{Token: token}))
	defer api.Close()
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ebbgate-Gen", "eu-west-17")
	}))
	defer edge.Close()
	endpoint, page := api.URL, edge.URL

	purger := must(fastly.New(fastly.Config{Token: token, Endpoint: endpoint})) // or cloudflare, cloudfront, varnish, httppurge
	probe := must(cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "fra", URL: page}}}))
	request := cdn.Request{Scope: serviceID, Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "rules"}}}
	must(cdn.Purge(ctx, purger, request))                // accepted, which is not done
	time.Sleep(purger.Capabilities().Kinds[cdn.Key].Gap) // a response may have been on its way:
	must(cdn.Purge(ctx, purger, request))                // once more
	evidence := must(probe.Verify(ctx, cdn.Want{Region: "eu-west", Epoch: 17}))
	for _, e := range evidence {
		fmt.Println(e.Vantage, e.Fresh, "saw", e.Seen, "wanted", e.Wanted, "or later")
	}
	// Output: fra true saw eu-west-17 wanted eu-west-17 or later
}

// The durable way: what was submitted is sent twice, whoever dies in between,
// until the provider accepts it; then look at what is served.
func ExampleOutbox() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ebbgate-Gen", "eu-west-17")
	}))
	defer page.Close()
	nginx := httptest.NewServer(http.NotFoundHandler()) // nothing cached, which is fine
	defer nginx.Close()
	dir := must(os.MkdirTemp("", "outbox"))
	defer os.RemoveAll(dir)
	db := must(bbolt.Open(filepath.Join(dir, "state.db"), 0o600, nil))
	defer db.Close()
	purger := must(httppurge.New(httppurge.Config{Groups: map[string][]string{"own": {nginx.URL}}, Gap: time.Millisecond}))
	probe := must(cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "edge", URL: page.URL}}}))

	outbox := must(cdn.NewOutbox(cdn.OutboxConfig{DB: db, Purgers: []cdn.Purger{purger}}))
	done := make(chan error, 1)
	go func() { done <- outbox.Run(ctx) }()
	about := cdn.Item{Provider: "http", Scope: "own", App: "waf", Region: "eu-west", Epoch: 17}
	selectors := []cdn.Selector{{Kind: cdn.URL, Value: "https://www.example.com/rules.json"}}
	ids := must(outbox.Submit(ctx, cdn.Rounds(purger.Capabilities(), about, selectors, 0))) // durable from here on
	entries := must(outbox.Wait(ctx, ids...))                                               // accepted, twice
	evidence := must(outbox.Verify(ctx, probe, cdn.Want{Region: "eu-west", Epoch: 17}, ids...))

	fmt.Println(len(entries), entries[1].State, evidence[0].Seen, evidence[0].Fresh)
	entry, _ := outbox.Get(ids[1])
	fmt.Println(entry.State)
	cancel()
	fmt.Println(<-done)
	// Output:
	// 2 accepted eu-west-17 true
	// verified
	// <nil>
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
