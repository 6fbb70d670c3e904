// Package cdntest has what is needed to test code that purges, whoever wrote it:
// stand-ins for the HTTP interfaces of Fastly, Cloudflare and CloudFront with
// their documented limits, a small tagged cache to hang behind them, and the
// conformance suite of [cdn.Purger] and [cdn.Fencer].
//
// The stand-ins are http.Handlers, for httptest or for a real listener. They
// check tokens, scopes, batches and quotas as the documentation has them, and
// go wrong on demand: each [Fault] makes one coming request late, lost before
// or after it was carried out, refused, throttled, or done in part. What a
// purge looks like when its answer is lost, or when a batch is half accepted,
// is otherwise seen for the first time in production.
//
// A Purger of one's own passes [Run]:
//
//	func TestConformance(t *testing.T) {
//		cdntest.Run(t, func(t *testing.T) cdntest.Subject { … })
//	}
package cdntest
