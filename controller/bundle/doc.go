// Package bundle makes bundles out of directories and bundle files out of bundles, and
// reads them back: it is what `ebbgate bundle` and `ebbgate publish` are made of.
//
// A bundle's directory holds
//
//	bundle.yaml          what the bundle is, see [Spec]
//	files/…              what every region gets
//	overlays/<region>/…  what one region gets instead or besides
//	schemas/…            JSON Schemas that bundle.yaml names; they are not part of the bundle
//
// beside files that begin with a dot or end in .md, which are left out. Anything else is
// refused: a misspelt "overlay" must not silently reach no region.
//
// # Why so much is refused
//
// A bundle goes to every node of a fleet. What is in a working directory by accident (a
// link to somewhere else, a socket, a private key, a core dump) is cheapest to stop
// here, where a person reads the answer. What could be read differently on another day
// (owners, times, set-user-id bits, the order of a directory) is not part of a bundle,
// so that the same files always have the same digest.
//
// # Bundle files
//
// A bundle file (conventionally .ebb) is a USTAR archive of the chunks of a pack, each
// named blobs/<sha256>, and at its end the pack's index, index.json. It holds what the
// bus would: publishing it is copying its blobs.
package bundle
