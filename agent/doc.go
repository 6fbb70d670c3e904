// Package agent runs one node of a fleet: it stages what the region's orders name,
// switches the data plane to it, proves that it is live, and says so.
//
// The package is a shell. What to do is decided by [plan.Steps], which is pure; what must
// outlive a crash is in [stage.Store]; how bytes become a release is in package release;
// what serves them is a [dataplane.Driver]. Here is only the order of side effects. Each
// app has one worker, and every change of a node is written into its journal before it is
// made: after a crash anywhere, the journal and the plan lead on.
//
//	order ─┐
//	state ─┼─▶ plan.Steps ─▶ first step to do ─▶ journal ─▶ side effect ─▶ journal ─▶ report
//	clock ─┘        ▲                                                        │
//	                └────────────────────────────────────────────────────────┘
//
// # Fail static
//
// Nothing in the path that makes the node serve its current release needs the network:
// [Agent.Run] brings the data plane up from disk, by the last order it had verified,
// while the bus is still connecting. No order, no beacon and no connection for however
// long changes nothing that serves.
//
// # What is trusted
//
// Orders arrive from the bus, from gossip and from the agent's own disk, and are all
// verified alike; so are bundles. What does not verify is counted in the report and has
// no other effect.
package agent
