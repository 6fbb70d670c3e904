package rollout

import (
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Event is something that happened, with the time it is to be judged at. One of [Tick],
// [Members], [Reported], [Start], [Pause], [Resume], [Abort], [Undo], [PurgeVerified] and
// [PurgeFailed].
type Event interface {
	// Time returns when the event is judged. Time never runs backwards: an earlier
	// time counts as the newest one seen.
	Time() time.Time
}

// Tick lets time pass; about one a second.
type Tick struct {
	Now time.Time `json:"now"`
}

// Members replaces the list of enrolled agents of a region.
type Members struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Agents []Member    `json:"agents"`
}

// Member is an enrolled agent.
type Member struct {
	ID      wire.AgentID `json:"id"`
	Drained bool         `json:"drained,omitempty"`
}

// Reported brings a verified report of an agent. Reports of agents that are not enrolled,
// and reports that are not newer than the last, are ignored.
type Reported struct {
	Now         time.Time      `json:"now"`
	Region      wire.Region    `json:"region"`
	Agent       wire.AgentID   `json:"agent"`
	Stored      time.Time      `json:"stored"` // when the bus stored it
	Incarnation uint64         `json:"incarnation"`
	Sequence    uint64         `json:"sequence"`
	Desired     uint64         `json:"desired"` // sequence of the desired document it acts on
	Report      wire.AppReport `json:"report"`  // of this app
}

// Start starts a rollout.
type Start struct {
	Now    time.Time   `json:"now"`
	ID     string      `json:"id"`
	By     string      `json:"by"`
	Seed   string      `json:"seed"`   // random, 1 to 64 bytes
	Target wire.Target `json:"target"` // digest, version and packs; epoch and soak are set by Step
	Plan   Plan        `json:"plan"`
	// CheckIndex, if given, is the Record.Revision the operator looked at: a start on a
	// record that has moved since is refused.
	CheckIndex *uint64 `json:"check_index,omitempty"`
}

// Pause stops widening and promotion. Failures are still taken back, and regions that are
// wholly switched still purged.
type Pause struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
}

// Resume ends a pause or a halt. It acknowledges the failures seen so far, and requests
// failed purges again.
type Resume struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
}

// Abort takes the regions under way back and keeps the committed ones.
type Abort struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
}

// Undo starts a rollout that takes every region committed by the last one back to what it
// ran before, through the same waves and steps, without bakes.
type Undo struct {
	Now time.Time `json:"now"`
	ID  string    `json:"id"`
	By  string    `json:"by"`
}

// PurgeVerified says that a purge round is verified.
type PurgeVerified struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Round  int         `json:"round"`
}

// PurgeFailed says that a purge round was given up.
type PurgeFailed struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Round  int         `json:"round"`
	Reason string      `json:"reason"`
}

func (e Tick) Time() time.Time          { return e.Now }
func (e Members) Time() time.Time       { return e.Now }
func (e Reported) Time() time.Time      { return e.Now }
func (e Start) Time() time.Time         { return e.Now }
func (e Pause) Time() time.Time         { return e.Now }
func (e Resume) Time() time.Time        { return e.Now }
func (e Abort) Time() time.Time         { return e.Now }
func (e Undo) Time() time.Time          { return e.Now }
func (e PurgeVerified) Time() time.Time { return e.Now }
func (e PurgeFailed) Time() time.Time   { return e.Now }
