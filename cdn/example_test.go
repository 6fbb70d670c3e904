package cdn_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/fastly"
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

// The durable way: submit, wait until accepted, look at what is served.
func ExampleOutbox() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	api := httptest.NewServer(cdntest.NewFastly(cdntest.FastlyConfig{Token: "secret"}))
	defer api.Close()
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ebbgate-Gen", "eu-west-17")
	}))
	defer edge.Close()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bbolt.Open(filepath.Join(dir, "state.db"), 0o600, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	purger, err := fastly.New(fastly.Config{Token: "secret", Endpoint: api.URL})
	if err != nil {
		log.Fatal(err)
	}
	probe, err := cdn.NewProbe(cdn.ProbeConfig{Vantages: []cdn.Vantage{{Name: "edge", URL: edge.URL}}})
	if err != nil {
		log.Fatal(err)
	}
	outbox, err := cdn.NewOutbox(cdn.OutboxConfig{DB: db, Purgers: []cdn.Purger{purger}})
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- outbox.Run(ctx) }()

	ids, err := outbox.Submit(ctx, []cdn.Item{{
		Provider: "fastly", Scope: "SU1Z0isxPaozGVKXdv0eY", App: "waf", Region: "eu-west", Epoch: 17,
		Selector: cdn.Selector{Kind: cdn.Key, Value: "rules@eu-west-16"}, Round: 1,
	}})
	if err != nil {
		log.Fatal(err)
	}
	entries, err := outbox.Wait(ctx, ids...)
	fmt.Println(entries[0].State, err)
	evidence, err := outbox.Verify(ctx, probe, cdn.Want{Region: "eu-west", Epoch: 17}, ids...)
	fmt.Println(evidence[0].Seen, evidence[0].Fresh, err)
	entry, _ := outbox.Get(ids[0])
	fmt.Println(entry.State)
	cancel()
	fmt.Println(<-done)
	// Output:
	// accepted <nil>
	// eu-west-17 true <nil>
	// verified
	// <nil>
}
