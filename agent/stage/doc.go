// Package stage is what an agent remembers: one bbolt database, state.db, which holds
// the chunks it has fetched, the manifests it has verified, the journal of each app, and
// the newest order.
//
// # Why one database
//
// The promise of an agent is that after a power cut it knows what it was doing. One
// journal record for each app, replaced in one transaction, is a promise that can be
// read and tested; a directory of little files is not.
//
// # Why chunks are laid out as they are
//
// A pack is a bucket whose keys are the chunks' numbers, big-endian, written in ascending
// order with full pages and many chunks to a transaction: a write amplification of 1.05
// and two syncs for each [Batch]. Keys by hash cost 3.3, a transaction for every chunk 10.
// The index by hash, for peers that ask for a chunk by name, lies beside it and holds 36
// bytes for each chunk.
//
// # Errors
//
// [release.ErrFull] means that there was no room and nothing has changed.
// [release.ErrSync] means that a commit failed in a way that leaves the disk unknown: the
// process must exit.
package stage
