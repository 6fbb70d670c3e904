// Package gate reads what gates measure: numbers of Prometheus servers and verdicts of
// webhooks. What a reading means is for package rollout to say; here it is only asked for.
//
// A source is at the other end of a network, and may be down, slow, wrong or hostile. Each
// reading has a time limit, each answer a size, redirects are not followed, and the token
// appears in one header and nowhere else. Whatever is not a plain answer is an error of one
// line, and so no data: it never passes a gate.
package gate
