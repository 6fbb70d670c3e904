// Package cdn purges content delivery networks and proves that the purge
// worked. It is usable on its own: it imports the standard library, bbolt,
// a token bucket and a glob matcher, and nothing else of Ebbgate.
//
// # Why it is like this
//
// A purge API call looks trivial and fails in ways that leave stale content
// in a cache for its whole lifetime:
//
//   - The call may time out. Whether the purge happened is then unknown. A
//     purge may always be repeated, so the only safe answer is to send it
//     again: [Unknown] is a class of its own, and the [Outbox] resends.
//   - The process may die between deciding to purge and purging. The outbox
//     makes the decision durable first, and every item has an [ID] derived
//     from what it is about, so that deciding again after a crash is free.
//   - The provider may accept the purge and do it later, or do it while a
//     response is on its way into the cache. Providers therefore ask for a
//     second purge after a gap ([Limits].Gap, [Rounds]), and acceptance is
//     not success: only a [Probe] that sees the new generation, or an object
//     younger than the purge, lets [Outbox.Verify] call an item verified.
//   - The client library may send something else than was asked for. Each
//     provider package lists the traps of its library and tests them.
//
// # Pieces
//
// A [Selector] says what to purge. A [Purger] is one account at one provider;
// the sub-packages fastly, cloudflare, cloudfront, varnish and httppurge
// implement it, and cdntest has stand-ins for the remote ends and the
// conformance suite that all implementations pass. [Purge] is a direct call; an [Outbox] is the durable
// way. A [Rule] maps changed files to selectors, and [PredictDuration] says
// how long a set of selectors will take under the provider's quota.
//
// Package config, below this one, moves what a provider itself holds:
// dictionaries, rules, functions.
package cdn
