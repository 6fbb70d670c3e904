// Package lab runs a whole fleet on one machine, for `ebbgate dev` and for tests that
// need the real thing: a controller and agents as processes of their own that can be
// killed, a data plane behind each agent, stand-ins for the CDNs that the real clients
// talk to over HTTP, and a stream of requests that never retries.
//
// It speaks to the fleet the way an operator does, through the ebbgate command.
package lab
