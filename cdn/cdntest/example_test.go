package cdntest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

// Any client can be tested against a stand-in; this one is a few lines of
// net/http. The first answer is lost after the purge was done, the second purge
// meets the quota, and URLs have another one.
func Example() {
	edge := cdntest.NewCache()
	cloudflare := cdntest.NewCloudflare(cdntest.CloudflareConfig{Token: "secret", Burst: 1, Rate: 0.2, OnPurge: edge.Apply})
	api := httptest.NewServer(cloudflare)
	defer api.Close()
	purge := func(body string) string {
		req, _ := http.NewRequest(http.MethodPost, api.URL+"/zones/z1/purge_cache", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return strings.TrimSpace(resp.Status + " " + resp.Header.Get("Retry-After"))
	}

	edge.Put("https://www.example.com/a", "rules")
	cloudflare.Inject(cdntest.Fault{LoseReply: true})
	fmt.Println(purge(`{"tags":["rules"]}`), edge.Has("https://www.example.com/a"))
	fmt.Println(purge(`{"tags":["rules"]}`))
	fmt.Println(purge(`{"files":["https://www.example.com/a"]}`))
	for _, p := range cloudflare.Purges() {
		fmt.Println(p.Scope, p.Selectors)
	}
	// Output:
	// no answer false
	// 429 Too Many Requests 5
	// 200 OK
	// z1 [key:rules]
	// z1 [url:https://www.example.com/a]
}

// A cache on its own, for code that decides what to purge.
func ExampleCache() {
	edge := cdntest.NewCache()
	edge.Put("https://www.example.com/rules/a.json", "rules@eu-west-16")
	edge.Put("https://www.example.com/flags.json", "flags")
	edge.Apply(cdntest.Purge{Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "rules@eu-west-16"}}})
	fmt.Println(edge.Has("https://www.example.com/rules/a.json"), edge.Has("https://www.example.com/flags.json"))
	// Output: false true
}
