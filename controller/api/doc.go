// Package api is the controller over HTTP: the server, its OpenAPI document, and the
// Go client that the command line uses.
//
// # Why it is like this
//
// The API decides nothing. Every request becomes one call of [Controller], and what the
// controller refuses comes back as one JSON error with the status that its sentinel
// stands for, so that the same mistake reads the same through the command line, the
// page and curl.
//
// It is closed from the first start. There is no request without a token except the two
// health checks, which hold no data; a route names the lowest [Role] that may use it, and
// one that is not in the table does not exist. Tokens are bearer tokens in a header,
// never cookies and never in a URL, so a browser cannot be made to send one; requests
// from other origins are refused all the same. The server keeps only the SHA-256 of each
// token: they are random and long, so a slow hash would protect nothing.
//
// Changes that happen are told through server-sent events, not WebSockets: a plain GET
// that passes every proxy, resumes by itself with Last-Event-ID, and can be read with
// curl.
package api
