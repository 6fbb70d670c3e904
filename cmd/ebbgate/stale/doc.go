// Package stale counts what the purge barrier promises to be zero: answers older than what
// their region has committed, given after the controller has called its barrier reached.
//
// Everything is real and on loopback: a controller and agents as processes of their own,
// two nginx behind two tiers of Varnish in each of three regions, an origin behind them
// that takes its time. Clients that never repeat a request ask both tiers all along, while
// releases are rolled out, taken back and interrupted. Only the way to the caches' purge
// endpoints leads through doors of ours, which delay a purge, lose its answer, or keep a
// fence from the caches, as real providers do.
//
// A number that is always zero proves little. Each protection is therefore switched off
// once, in a controller that only the compiler sees, and the scenario that needs it has to
// show stale answers then. DESIGN.md says what is counted, and what is not.
package stale
