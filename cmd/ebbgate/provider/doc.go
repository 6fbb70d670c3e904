// Package provider lets an agent serve content at a CDN provider instead of a data
// plane on a node. It joins package agent, which stages, switches, confirms, reports and
// recovers, with the targets of cdn/config. Only here the two meet: the lean agent links
// no provider's client.
package provider
