// Package pack turns a bundle into blobs and back: it is how content travels from
// `ebbgate publish` to a node.
//
// A pack is an [Index] and the chunks it lists. The index holds the detached
// signatures of the manifest and two sections, the manifest and the content, each
// one zstd stream cut into chunks of [ChunkSize] bytes. Chunks and index are blobs,
// named by their SHA-256: whoever holds the index can fetch every chunk from anyone.
//
// # Why a stream cut into chunks, and not a chunk for every file
//
// Files of a configuration are small and alike. One stream lets each file refer to
// the ones before it, and a few large chunks cost the bus, the disk and the peers of
// a region less than thousands of small ones. Chunks are the unit of transport,
// resumption and sharing; content is addressed per file by the manifest.
//
// # What is trusted
//
// Nothing. An index is signed by nobody: it is named by an order that the controller
// signed, and everything read through it is held against the manifest that the
// authors signed. No step reads, stores or allocates more than was declared before.
//
// The package does no I/O of its own: blobs go out through a Put and come in through
// a Fetch, so that controller, agent and tests use the same code.
package pack
