// Package cdntest has what is needed to test code that purges: stand-ins for
// the HTTP interfaces of Fastly and Cloudflare with their documented limits, a
// small tagged cache to hang behind them, and the conformance suite of
// [cdn.Purger]. The stand-ins are http.Handlers, for httptest or for a real
// listener.
//
//	edge := cdntest.NewCache()
//	fastly := cdntest.NewFastly(cdntest.FastlyConfig{Token: "t", OnPurge: edge.Apply})
//	server := httptest.NewServer(fastly)
//	fastly.Inject(cdntest.Fault{LoseReply: true}) // done, but the caller cannot know
package cdntest
