package rollout

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Event is something that happened, with the time it is to be judged at. One of [Tick],
// [Members], [Reported], [Start], [Pause], [Resume], [Approve], [Promote], [StepBack], [Abort],
// [Undo], [PurgeVerified], [PurgeUnverified], [PurgeFailed] and [Measured].
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
// and reports that are not newer than the last, nor the same and stored later, are ignored.
type Reported struct {
	Now         time.Time      `json:"now"`
	Region      wire.Region    `json:"region"`
	Agent       wire.AgentID   `json:"agent"`
	Stored      time.Time      `json:"stored"` // when the bus stored it
	Incarnation uint64         `json:"incarnation"`
	Sequence    uint64         `json:"sequence"`
	Desired     uint64         `json:"desired"` // sequence of the desired document it acts on
	Build       string         `json:"build,omitempty"`
	Peers       []wire.AgentID `json:"peers,omitempty"` // whom its gossip sees
	Report      wire.AppReport `json:"report"`          // of this app
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
	// Source says whose bundle it is: its authors. A source whose last bundle of the
	// app failed is quarantined. Acknowledge names that rollout, and so ends it.
	Source      string `json:"source,omitempty"`
	Acknowledge string `json:"acknowledge,omitempty"`
	// Supersede names the active rollout, paused, waiting or going back, whose place this one takes.
	Supersede string `json:"supersede,omitempty"`
	// Emergency makes it a break-glass rollout.
	Emergency *Emergency `json:"emergency,omitempty"`
}

// Emergency asks for a break-glass rollout: once [GlassApprovals] people have approved, it
// passes over bakes, gates, approvals and freezes of its plan, until it expires. It is staged,
// widened step by step, confirmed, purged and taken back like every other, and at most half of a
// region switches at the same time.
type Emergency struct {
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires"` // at most [MaxGlass] from now
}

// Check reports what is wrong with an emergency that is asked for now.
func (em Emergency) Check(now time.Time) error {
	if em.Reason == "" || len(em.Reason) > 500 {
		return &wire.FieldError{Doc: "start", Field: "emergency.reason", Reason: fmt.Sprintf("is %d bytes long, want 1 to 500", len(em.Reason))}
	}
	if left := em.Expires.Sub(now); left <= 0 || left > MaxGlass+backlash {
		return &wire.FieldError{Doc: "start", Field: "emergency.expires", Reason: fmt.Sprintf("is in %s, want at most %s from now", left.Round(time.Second), MaxGlass)}
	}
	return nil
}

// Glass returns the emergency as it begins, which nobody has approved yet.
func (em Emergency) Glass() *Glass { return &Glass{Reason: em.Reason, Expires: em.Expires.UTC()} }

// Of binds a command to what its operator has looked at: it is refused where that is not so any
// more. What is zero binds to nothing.
type Of struct {
	Rollout string `json:"rollout,omitempty"` // the app's rollout; of an undo the one that it undoes
	Wave    int    `json:"wave,omitempty"`    // that waits, from 1; of an approval or a promotion only
	Step    int    `json:"step,omitempty"`    // that waits, from 1; of an approval or a promotion only
}

func (o Of) of() Of { return o }

// Pause stops widening and promotion. Failures are still taken back, and regions that are
// wholly switched still purged.
type Pause struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	Of
}

// Resume ends a pause or a halt. It acknowledges the failures seen so far, and requests
// failed purges again.
type Resume struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	Of
}

// Approve approves what the rollout waits for approval of now, once for each person. Who
// may is the shell's to say.
type Approve struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	Of
}

// Promote lets the regions that bake or wait at their gates go on without these gates, this
// time. It passes over no failure, approval, bake or freeze.
type Promote struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	Of
}

// StepBack takes the last step of the regions that widen back: the agents that it let switch
// return to the old release, and the rollout waits at the step before.
type StepBack struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	Of
}

// Abort takes the regions under way back and keeps the committed ones, or with All takes
// these back, too.
type Abort struct {
	Now time.Time `json:"now"`
	By  string    `json:"by"`
	All bool      `json:"all,omitempty"`
	Of
}

// Undo starts a rollout that takes every region committed by the last one back to what it
// ran before, through the same waves and steps, without bakes.
type Undo struct {
	Now time.Time `json:"now"`
	ID  string    `json:"id"`
	By  string    `json:"by"`
	Of
}

// PurgeVerified says that a purge round is verified.
type PurgeVerified struct {
	Now     time.Time   `json:"now"`
	Region  wire.Region `json:"region"`
	Epoch   wire.Epoch  `json:"epoch"`
	Round   int         `json:"round"`
	Nothing string      `json:"nothing,omitempty"` // why there was no purge to wait for; empty: there was
	Seen    string      `json:"seen,omitempty"`    // on what it is believed, for people
}

// PurgeUnverified says that a purge round cannot be verified for now: a place that has to be looked
// at does not answer or, with Stale, shows what was to be purged, which is purged again.
type PurgeUnverified struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Round  int         `json:"round"`
	Stale  bool        `json:"stale,omitempty"`
	Reason string      `json:"reason"`
}

// PurgeFailed says that a purge round was given up.
type PurgeFailed struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Round  int         `json:"round"`
	Reason string      `json:"reason"`
}

// Measured answers a [Measure].
type Measured struct {
	Now    time.Time   `json:"now"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Gate   string      `json:"gate"`
	Round  int         `json:"round"`

	Cohort  Sample  `json:"cohort,omitzero"`  // of the agents that switched
	Rest    Sample  `json:"rest,omitzero"`    // of the others
	Alone   bool    `json:"alone,omitempty"`  // there are no others
	Verdict Verdict `json:"verdict,omitzero"` // of a webhook
	Reason  string  `json:"reason,omitempty"` // of a webhook
	Error   string  `json:"error,omitempty"`  // why there is no answer
}

func (e Tick) Time() time.Time            { return e.Now }
func (e Members) Time() time.Time         { return e.Now }
func (e Reported) Time() time.Time        { return e.Now }
func (e Start) Time() time.Time           { return e.Now }
func (e Pause) Time() time.Time           { return e.Now }
func (e Resume) Time() time.Time          { return e.Now }
func (e Approve) Time() time.Time         { return e.Now }
func (e Promote) Time() time.Time         { return e.Now }
func (e StepBack) Time() time.Time        { return e.Now }
func (e Measured) Time() time.Time        { return e.Now }
func (e Abort) Time() time.Time           { return e.Now }
func (e Undo) Time() time.Time            { return e.Now }
func (e PurgeVerified) Time() time.Time   { return e.Now }
func (e PurgeUnverified) Time() time.Time { return e.Now }
func (e PurgeFailed) Time() time.Time     { return e.Now }
