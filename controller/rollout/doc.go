// Package rollout decides how a change of one app moves through a fleet: which agents may
// switch and when, when a region's CDN content is purged, when the next wave starts, and
// what is taken back after a failure.
//
// # Why it is pure
//
// [Step] is a function from a state and an event to a state and effects. It reads no clock,
// does no I/O, starts no goroutine, draws no random number and never depends on the order of
// a map: time arrives in the event. Hence a decision can be replayed from its inputs, a
// controller that dies at any instant continues from what it journaled, and the promises are
// tested by thousands of generated histories instead of by luck.
//
// # The shell's part
//
// The shell keeps the [State], and for each event calls Step, stores the new [Record] if its
// Revision rose, and only then carries out the effects in their order. Every effect has a
// stable ID and may be carried out again. On start it loads the Record, feeds [Members] and
// [Reported] as they arrive, and carries out [Pending].
//
// # What is remembered
//
// The [Record] holds decisions; the [View] holds what agents said, and is rebuilt from the
// bus. Whatever can be derived from both is derived. See DESIGN.md for the choices.
package rollout
