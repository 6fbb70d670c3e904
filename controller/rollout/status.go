package rollout

import (
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Summary is the state of an app for people and programs that watch it. Nothing in it is
// stored.
type Summary struct {
	App        wire.App        `json:"app"`
	Revision   uint64          `json:"revision"`
	At         time.Time       `json:"at"`
	Rollout    *RolloutSummary `json:"rollout,omitempty"`    // the active or last one
	Regions    []RegionSummary `json:"regions"`              // every region known, by name
	Quarantine []Quarantined   `json:"quarantine,omitempty"` // whose last bundle failed
}

// RolloutSummary is the state of a rollout.
type RolloutSummary struct {
	ID      string        `json:"id"`
	By      string        `json:"by"`
	Source  string        `json:"source,omitempty"` // whose bundle it is
	Undoes  string        `json:"undoes,omitempty"`
	Glass   *Glass        `json:"glass,omitempty"` // it is an emergency
	Version wire.Version  `json:"version"`
	Digest  wire.Digest   `json:"digest"`
	Status  RolloutStatus `json:"status"`
	Reason  string        `json:"reason,omitempty"` // why it waits or goes back
	Hold    *Hold         `json:"hold,omitempty"`   // that the reason tells of; nil: it tells of none
	Wave    int           `json:"wave"`             // index of the current one
	Waves   []WaveSummary `json:"waves"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended,omitzero"`
}

// WaveSummary is one wave. State is "waiting", "current" or "passed".
type WaveSummary struct {
	State    string          `json:"state"`
	Strategy Strategy        `json:"strategy"`
	Regions  []RegionSummary `json:"regions"` // in the plan's order
}

// RegionSummary is one region.
type RegionSummary struct {
	Region  wire.Region  `json:"region"`
	Phase   RegionPhase  `json:"phase"`
	Running wire.Version `json:"running,omitempty"` // committed
	Epoch   wire.Epoch   `json:"epoch,omitempty"`   // committed, or of the change under way
	Next    wire.Version `json:"next,omitempty"`    // of the change under way
	Others  []RunSummary `json:"others,omitempty"`  // what agents run that is neither, by version: after superseding, or not followed yet
	Step    int          `json:"step,omitempty"`    // from 1, while activating
	Steps   int          `json:"steps,omitempty"`
	Counts  Counts       `json:"counts"`
	Purge   *PurgeRecord `json:"purge,omitempty"`
	Hold    *Hold        `json:"hold,omitempty"`
	Times   Times        `json:"times,omitzero"`
	// BakesUntil is when the bake of the step or wave is over; zero: it is not baking, or begins
	// anew when the hold ends.
	BakesUntil time.Time `json:"bakes_until,omitzero"`

	Readings  []Reading     `json:"readings,omitempty"`  // the newest of each gate
	Approvals []Approval    `json:"approvals,omitempty"` // for going on from the step or wave
	Approve   int           `json:"approve,omitempty"`   // how many it wants
	Skew      wire.Duration `json:"skew,omitempty"`      // between the first and the last agent that switched to the epoch, by their clocks

	Agents []AgentSummary `json:"agents,omitempty"` // by ID
}

// RunSummary is a release and how many agents of a region run it.
type RunSummary struct {
	Version wire.Version `json:"version"`
	Agents  int          `json:"agents"`
}

// Counts is how the agents of a region stand towards its epoch.
type Counts struct {
	Total     int `json:"total"`     // enrolled
	Drained   int `json:"drained"`   // of these, not serving
	Live      int `json:"live"`      // serving, and reported lately
	Silent    int `json:"silent"`    // serving, and not heard of: unknown
	Staged    int `json:"staged"`    // live, have the content validated or further
	Armed     int `json:"armed"`     // live, have it preloaded or further
	Active    int `json:"active"`    // live, switched or further
	Confirmed int `json:"confirmed"` // live, read back
	Failed    int `json:"failed"`    // said so, or missed the deadline
	InCohort  int `json:"in_cohort"` // live, may switch
	InFlight  int `json:"in_flight"` // live, may switch, neither confirmed nor failed
}

// AgentSummary is one agent. State is "drained", "silent", "waiting", "idle", "failed" or a
// [wire.State].
type AgentSummary struct {
	ID       wire.AgentID `json:"id"`
	State    string       `json:"state"`
	InCohort bool         `json:"in_cohort,omitempty"`
	Version  wire.Version `json:"version,omitempty"` // running
	Epoch    wire.Epoch   `json:"epoch,omitempty"`
	Plane    string       `json:"plane,omitempty"`
	Error    string       `json:"error,omitempty"`
	Stored   time.Time    `json:"stored,omitzero"`
}
