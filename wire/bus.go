package wire

import (
	"context"
	"time"
)

// AgentBus is what an agent may do on the bus: read its region's orders, read blobs, and
// say how it is. Implementations are safe for concurrent use, reconnect for ever, and
// return [ErrDisconnected] (wrapped) at once while there is no connection. Nothing they
// return has been verified.
type AgentBus interface {
	// Want returns the newest desired document kept for the region, or [ErrNotFound].
	// A copy elsewhere may lag: only a newer answer means anything.
	Want(ctx context.Context, r Region) ([]byte, error)
	// Notes calls f with each desired document as it is announced and with nil after
	// every (re)connection, when announcements may have been missed. f is called from one
	// goroutine and must not block; when it cannot keep up, announcements are dropped and
	// a nil follows. The returned function ends it and waits for f.
	Notes(r Region, f func(envelope []byte)) (stop func(), err error)
	// Beacons calls f with each beacon, as Notes does.
	Beacons(f func(envelope []byte)) (stop func(), err error)
	// Blob returns a blob, or [ErrNotFound].
	Blob(ctx context.Context, d Digest) ([]byte, error)
	// Report replaces the agent's report and returns when it is stored.
	Report(ctx context.Context, r Region, a AgentID, envelope []byte) error
	// Close ends the connection. It is idempotent.
	Close()
}

// Fence proves leadership: the sequence of the lease under which a controller writes.
type Fence uint64

// ControllerBus is what a controller may do on the bus. Reads that a decision depends on
// are answered by the stream's leader, never by a mirror or a lagging replica.
type ControllerBus interface {
	// Linked returns a context that ends with the connection that there is now; it has
	// ended already if there is none. A bus that restarts, perhaps with less than it had
	// stored, ends all connections: what was seen over one says nothing after it.
	Linked() context.Context
	// Setup makes or updates the streams; it is idempotent. replicas is 1 or 3.
	Setup(ctx context.Context, replicas int) error
	// Lease returns who holds the lease and its fence; "" and 0 when nobody ever did.
	Lease(ctx context.Context) (holder string, f Fence, err error)
	// TakeLease makes holder the leader if the lease is still at seen, and returns the
	// new fence; else [ErrNoLease].
	TakeLease(ctx context.Context, holder string, seen Fence) (Fence, error)
	// Heartbeat tells standbys that the leader lives; Heartbeats listens.
	Heartbeat(holder string, f Fence) error
	Heartbeats(f func(holder string, f Fence)) (stop func(), err error)

	// PutWant, PutJournal and DeleteJournal write under a fence, and return [ErrFenced] if
	// the lease has moved on. They return when the write is stored.
	PutWant(ctx context.Context, f Fence, r Region, envelope []byte) error
	PutJournal(ctx context.Context, f Fence, key string, record []byte) error
	DeleteJournal(ctx context.Context, f Fence, key string) error
	// Want and Journal read back; Journal returns every key. JournalSince returns only what
	// was written after a sequence, and the next sequence to ask for; 0 is the first. What is
	// deleted does not show. Sequences mean something over one connection only.
	Want(ctx context.Context, r Region) ([]byte, error)
	Journal(ctx context.Context) (map[string][]byte, error)
	JournalSince(ctx context.Context, since uint64) (records map[string][]byte, next uint64, err error)

	// PutBlob stores a blob; storing it again is free. At most 16 run at once.
	PutBlob(ctx context.Context, d Digest, data []byte) error
	// HasBlob reports whether a blob is stored.
	HasBlob(ctx context.Context, d Digest) (bool, error)
	Blob(ctx context.Context, d Digest) ([]byte, error)

	// Reports calls f with the last report of every agent and then with each new one,
	// until ctx ends; it blocks. stored is when the bus stored it. It resumes by itself
	// after a lost connection, and may then repeat reports.
	Reports(ctx context.Context, f func(r Region, a AgentID, envelope []byte, stored time.Time)) error
	// Beacon publishes a beacon.
	Beacon(envelope []byte) error
	Close()
}

// MaxBlob bounds a blob: the index of a large pack is the largest, and a message of the
// NATS default maximum of 1 MiB has to hold it.
const MaxBlob = 1000 << 10

// MaxRecord bounds a journal record: a message of the NATS default maximum of 1 MiB has to
// hold it.
const MaxRecord = MaxBlob
