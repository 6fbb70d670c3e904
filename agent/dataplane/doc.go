// Package dataplane makes server software serve a release, and finds out whether it
// does. There is one driver per kind of software, one file per driver.
//
// # Why Confirm and not an exit code
//
// nginx -s reload returns 0 when the new configuration could not be loaded, and the
// old one goes on serving. Every driver therefore reads the release's ID back from
// what actually answers, on connections that no older worker can hold: the data plane
// has to show which release and epoch it serves, in a response header and at
// /.well-known/ebbgate. A purge that follows relies on nothing else.
//
// # Why Confirm and Check are two
//
// Confirm says which release serves, Check whether it serves well. A release that
// answers 500 is live, and has to be purged when it is taken back; a release that is
// not live must not be judged by the probes of the one that is.
//
// # Why there is no Revert
//
// See DESIGN.md.
package dataplane
