// Package tags shows on every HTTP answer which release made it, so that caches can be
// purged of exactly the answers of an older one. Programs of one's own use it without the
// rest of Ebbgate: it needs the standard library and the vocabulary of package wire.
//
// # Why header and content come from one look
//
// A program that opens its content below the `current` link answers, for a moment in every
// switch, with the header of one release and the body of another. A cache keeps such an
// answer under the wrong tag, and no purge finds it. So [Handler] looks once per request,
// sets the headers from what it saw, and hands the same to the program as [Of]: content is
// opened below [Active.Dir], which never changes.
//
// Decisions are in DESIGN.md.
package tags
