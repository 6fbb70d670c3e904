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
// and every moment. What goes wrong is replayed by its seed.
package sim
