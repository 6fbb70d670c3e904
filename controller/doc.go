// Package controller drives the rollouts of a fleet: it takes in bundles, runs the
// pure engine of package rollout on what agents report and operators ask, and carries
// out the effects.
//
// # One loop, one journal
//
// All state lives in one goroutine, [Controller.Run]'s loop. An event goes in, the
// engine says what the new state is and what has to happen, and both are committed to
// the controller's own bbolt file as one record before anything leaves the process.
// Then the record is copied to the bus, under the lease's fence, and only then are the
// effects carried out: orders published, purges handed to the outbox. Every effect has
// a stable id and may be repeated, so after a crash anywhere the controller loads its
// journal, derives what is pending, and does it again.
//
// The journal is committed here before it is published because the bus may lose what
// it acknowledged (its default is to sync every two minutes) and the disk may not.
// What both have is reconciled at start: of two versions of a record the one with the
// higher fence and revision wins.
//
// # Being the leader
//
// At most one controller writes. The lease is one message on the bus; its sequence
// is the fence that every write carries, and the bus refuses a write under an old one.
// A controller that is refused has been replaced, and Run returns [ErrDeposed], unless
// the bus has lost the lease: then it is taken again, and all is copied to the bus once
// more.
package controller
