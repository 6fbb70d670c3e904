// Package wire is the vocabulary that the controller and the agents of a fleet
// share: the signed documents, their encodings, the names of every NATS subject
// and stream, and the contract a message bus has to meet.
//
// It decides nothing and touches nothing. Everything here is either a value with
// a Validate method or a function from bytes to a value, so that a document means
// the same on both sides and a hostile one is refused in one place.
//
// # Why signed documents and not signed connections
//
// The bus is not trusted. A NATS server that is taken over, a stream that is
// restored from an old backup, a peer that gossips rubbish: none of them can make
// a node run what the release authors did not sign and the controller did not
// order. Hence two signatures over two documents, a [Manifest] and a [Desired],
// and an agent acts only on both together.
//
// # Documents
//
// Every document travels as a DSSE envelope with Ed25519 signatures and its own
// payload type, holds JSON, and is decoded strictly: an unknown key, a duplicate
// key or trailing data is an error that names the field. PROTOCOL.md is the
// normative description.
package wire
