// Package sim plays the two pure cores, the rollout engine and the agent's plan, against
// each other in a world that has no clock, no goroutine and one source of randomness.
//
// The tests of each core hold it to its own half of a promise, with the other half made
// up. The promises are about both: that no node serves what was not ordered of it, that no
// purge overtakes the last confirmation, that whatever breaks in between, everybody ends
// at the same content with nothing older left in a cache. Here the real [rollout.Step]
// orders real [plan.Steps] over a bus that loses, repeats and reorders, on nodes and
// controllers that die between any two instructions that matter; the shells around the
// cores are written again, small, with a point to crash at wherever the real ones have one.
//
// One seed is one history: it draws the fleet, the faults that are switched on, the plans
// and every moment. What goes wrong is replayed by its seed, and made smaller by switching
// off what it does not need.
//
// # What is checked
//
// After every event, and where it can first be broken:
//
//   - a node serves where it comes from or where it goes, only what was ordered of it, never
//     below its floor: served, journaled; and it is whole on its disk: safe, tidied
//   - floors, highest epochs and incarnations only rise: journaled
//   - an epoch of a region names one bundle, epochs and documents go up, and nothing is
//     ordered that the journal on the bus does not have: published, ordered
//   - no more agents switch at a time than the budget lets, and nobody is let in who was not
//     there to be counted: inFlight, passed
//   - a wave begins when the one before is behind its barrier, a barrier stands on a purge
//     that was done: waveBegan, reached
//   - a purge is asked for after the last confirmation: purgeAsked; and after its barrier
//     nothing older can be cached: barrier
//
// And once all faults have healed: within ten minutes every rollout has ended and every
// node is where its region is, with nothing else in a cache: rest, settled.
package sim
