package rollout

import (
	"bytes"
	"cmp"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// State is all that [Step] knows of one app. Treat it as immutable.
type State struct {
	Record `json:"record"`
	View   `json:"-"`
	// Lost is how old an agent's last report may be while it counts as live; 0: 30 s.
	Lost wire.Duration `json:"lost,omitempty"`
	// Room is how many bytes the names in a region's order may take: the region's document
	// holds the orders of other apps, too. A region that is not in it has [MaxNames].
	Room map[wire.Region]int `json:"room,omitempty"`
}

// Record is what has been decided for one app over the whole fleet. It is journaled before
// any effect is carried out.
type Record struct {
	App      wire.App                     `json:"app"`
	Revision uint64                       `json:"revision"`          // raised by Step exactly when the Record changed
	Regions  map[wire.Region]RegionRecord `json:"regions"`           // region → what it runs and where it stands
	Rollout  *Rollout                     `json:"rollout,omitempty"` // the active or the last one
	Decided  uint64                       `json:"decided"`           // number of the last decision
	// Quarantine is whose last bundle failed, oldest first: the next one is started by
	// somebody who has looked at that failure, or not at all.
	Quarantine []Quarantined `json:"quarantine,omitempty"`
}

// Quarantined is a source whose bundle of the app failed.
type Quarantined struct {
	Source  string    `json:"source"`  // as [Start] says it
	Rollout string    `json:"rollout"` // that failed
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
}

// RegionPhase says where a region stands in the current rollout.
type RegionPhase string

// The phases of a region. Forward: staging → (arming →) activating → purging → baking → committed.
// Back: reverting → repurging → reverted. A region that never ordered an activation is
// dropped.
const (
	PhaseIdle       RegionPhase = ""
	PhaseStaging    RegionPhase = "staging"    // agents fetch and validate; nothing serves it
	PhaseArming     RegionPhase = "arming"     // blue-green: every agent preloads it
	PhaseActivating RegionPhase = "activating" // the cohort widens
	PhaseRetreating RegionPhase = "retreating" // the last step is taken back, those before it stay
	PhasePurging    RegionPhase = "purging"    // every serving agent confirmed; purge requested
	PhaseBaking     RegionPhase = "baking"     // barrier reached; waiting for bake and wave
	PhaseCommitted  RegionPhase = "committed"  // the new target is the region's base
	PhaseReverting  RegionPhase = "reverting"  // the old content is activated at a new epoch
	PhaseRepurging  RegionPhase = "repurging"  // reverted everywhere; purge requested
	PhaseReverted   RegionPhase = "reverted"   // the old content is the base again, and purged
	PhaseDropped    RegionPhase = "dropped"    // the order was taken back before or without activation
)

// RegionRecord is what has been decided for one region.
type RegionRecord struct {
	LastEpoch wire.Epoch    `json:"last_epoch"`          // highest ever ordered
	Committed *wire.Target  `json:"committed,omitempty"` // the base of the region's order
	Previous  Served        `json:"previous,omitzero"`   // committed before Committed
	Phase     RegionPhase   `json:"phase,omitempty"`
	Next      *wire.Transit `json:"next,omitempty"` // the change under way, as ordered

	Step     int            `json:"step,omitempty"`  // index of the plan's step while activating
	Before   wire.Cohort    `json:"before,omitzero"` // the cohort when the step began
	Retreat  *Retreat       `json:"retreat,omitempty"`
	NamedAt  time.Time      `json:"named_at,omitzero"` // when agents were last let switch by name; their deadline counts from here
	Ladder   []Rung         `json:"ladder,omitempty"`  // when each cut-off of Next was first ordered, ascending
	Acked    []wire.AgentID `json:"acked,omitempty"`   // failures at Next's epoch an operator has seen, ascending
	Missed   []wire.AgentID `json:"missed,omitempty"`  // vanished, and an operator went on without them; ascending, until they are heard of
	Returned time.Time      `json:"returned,omitzero"` // when an agent last came, or came back; deadlines count from here
	Issued   time.Time      `json:"issued,omitzero"`   // when Next was last issued; its expiry counts from here
	Hold     *Hold          `json:"hold,omitempty"`

	Readings  []Reading  `json:"readings,omitempty"`  // the newest of each gate, by name
	Approvals []Approval `json:"approvals,omitempty"` // for going on from the current step or wave
	ApproveBy time.Time  `json:"approve_by,omitzero"` // until when; counts from when they were first asked for
	Waived    string     `json:"waived,omitempty"`    // who let the region go on without its gates this time
	// Mixed says that an activation was superseded here: agents may run what neither
	// Committed nor Next names. Leaving the region alone would leave it so.
	Mixed bool `json:"mixed,omitempty"`

	Served  []Served     `json:"served,omitempty"`  // since the last verified purge, oldest first
	Covered AgentSet     `json:"covered,omitempty"` // agents whose activation of Purge.Epoch was followed by a purge
	Late    bool         `json:"late,omitempty"`    // an agent outside Covered confirmed Purge.Epoch, or one went back
	Purge   *PurgeRecord `json:"purge,omitempty"`   // the last one

	Times Times `json:"times,omitzero"`
}

// Served is a bundle that a region's nodes may have answered with, and so its caches hold.
// Tags of a generation carry the epoch.
type Served struct {
	Digest wire.Digest `json:"digest"`
	Epoch  wire.Epoch  `json:"epoch"`
}

func (s Served) compare(o Served) int {
	return cmp.Or(bytes.Compare(s.Digest[:], o.Digest[:]), cmp.Compare(s.Epoch, o.Epoch))
}

// Rung says since when a cut-off has been ordered.
type Rung struct {
	CutOff wire.Score `json:"cutoff"`
	At     time.Time  `json:"at"`
}

// Times is when a region passed the points of the current rollout; zero: not yet.
type Times struct {
	Ordered   time.Time `json:"ordered,omitzero"`   // staging ordered
	Staged    time.Time `json:"staged,omitzero"`    // all live agents had it staged
	Armed     time.Time `json:"armed,omitzero"`     // all live agents had it preloaded, where the strategy asks for it
	Activated time.Time `json:"activated,omitzero"` // first activation ordered
	StepDone  time.Time `json:"step_done,omitzero"` // the current step was confirmed
	Baking    time.Time `json:"baking,omitzero"`    // since when the bake of the step or wave counts: time in which agents were not heard of does not
	Confirmed time.Time `json:"confirmed,omitzero"` // the last agent confirmed
	Barrier   time.Time `json:"barrier,omitzero"`   // the purge was verified
	Committed time.Time `json:"committed,omitzero"` // the target became the base
}

// PurgeRecord is one purge round of a region.
type PurgeRecord struct {
	Epoch     wire.Epoch  `json:"epoch"`
	Round     int         `json:"round"` // 1 is the barrier's; further ones follow late activations
	From      []Served    `json:"from"`  // ascending
	To        wire.Digest `json:"to"`
	Requested time.Time   `json:"requested"`
	Verified  time.Time   `json:"verified,omitzero"`
	Unseen    string      `json:"unseen,omitempty"`  // why it cannot be verified for now
	Stale     string      `json:"stale,omitempty"`   // what was seen last, for which it is repeated
	Failed    string      `json:"failed,omitempty"`  // why it was given up
	Nothing   string      `json:"nothing,omitempty"` // why there was no purge to wait for, of one that is verified
}

// Hold is why a region waits. It ends by itself when its cause does.
type Hold struct {
	Kind     HoldKind  `json:"kind"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`          // after it an operator has to decide
	Overdue  bool      `json:"overdue,omitempty"` // it has passed
}

// HoldKind is what a hold waits for.
type HoldKind string

// The kinds of hold.
const (
	HoldSilent  HoldKind = "silent"  // too many enrolled agents are silent
	HoldMembers HoldKind = "members" // the region's member list is not known
	HoldPurge   HoldKind = "purge"   // a purge is not verified in time, or cannot be for now
	HoldBehind  HoldKind = "behind"  // a serving agent does not run what the region bakes
	HoldNobody  HoldKind = "nobody"  // every agent that is heard of has failed

	HoldVanished HoldKind = "vanished" // an agent switched and was not heard of since
	HoldGate     HoldKind = "gate"     // a gate has no data
	HoldApproval HoldKind = "approval" // people have to approve
	HoldFreeze   HoldKind = "freeze"   // nothing new begins now

	HoldOperator HoldKind = "operator" // of the whole rollout: its Halt
)

// RolloutStatus is where a rollout stands.
type RolloutStatus string

// The statuses. The last five are ends.
const (
	StatusRunning   RolloutStatus = "running"
	StatusPaused    RolloutStatus = "paused"    // by an operator
	StatusHolding   RolloutStatus = "holding"   // by itself: see Halt and the regions' holds
	StatusReverting RolloutStatus = "reverting" // going back
	StatusDone      RolloutStatus = "done"
	StatusReverted  RolloutStatus = "reverted"
	StatusAborted   RolloutStatus = "aborted"
	StatusFailed    RolloutStatus = "failed" // something could not be taken back

	StatusSuperseded RolloutStatus = "superseded" // a newer one took its place
)

// Ended reports whether the rollout is over.
func (s RolloutStatus) Ended() bool {
	switch s {
	case StatusDone, StatusReverted, StatusAborted, StatusFailed, StatusSuperseded:
		return true
	}
	return false
}

// Rollout is the move of an app to a target through the waves of a plan.
type Rollout struct {
	ID      string        `json:"id"`
	By      string        `json:"by"`
	Seed    string        `json:"seed"`             // of the cohorts
	Source  string        `json:"source,omitempty"` // whose bundle it is
	Undoes  string        `json:"undoes,omitempty"` // the rollout this one takes back
	Glass   *Glass        `json:"glass,omitempty"`  // it was started in an emergency
	Target  wire.Target   `json:"target"`           // without epoch; of an undo, that of its first region
	Plan    Plan          `json:"plan"`
	Wave    int           `json:"wave"` // index of the current wave
	Status  RolloutStatus `json:"status"`
	Paused  bool          `json:"paused,omitempty"`
	Halt    string        `json:"halt,omitempty"`    // why it waits for an operator
	Halted  time.Time     `json:"halted,omitzero"`   // since when
	Overdue bool          `json:"overdue,omitempty"` // it has waited for longer than the plan's deadline
	Failing bool          `json:"failing,omitempty"` // Halt is of agents that failed, and names those that had by then
	Ending  RolloutStatus `json:"ending,omitempty"`  // what it will end as, once it goes back
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended,omitzero"`
	// Shown says that an agent has confirmed the release. Until then one region activates; what
	// an undo goes back to was confirmed before.
	Shown bool `json:"shown,omitempty"`
	// Before is what each region that this rollout committed ran before: what an undo
	// goes back to. The zero Target: nothing.
	Before    map[wire.Region]wire.Target `json:"before,omitempty"`
	Decisions []Decision                  `json:"decisions"` // the newest 200; the audit log has all
}

// View is what agents said. It is rebuilt from events after a start.
type View struct {
	Now     time.Time                   // of the newest event
	Since   time.Time                   // of the first event after the start
	Members map[wire.Region]*Membership // region → its agents
	// Deaf says that nobody may have been able to report. It is for [Status] and [Explain] alone:
	// whoever looks silent then may be well, and nothing is to be done about it.
	Deaf bool
}

// Membership is the enrolled agents of a region.
type Membership struct {
	Agents []*Agent // by ascending ID
}

// Agent is an enrolled agent and the last it said.
type Agent struct {
	ID      wire.AgentID
	Build   string         // version of the agent's program
	Peers   []wire.AgentID // whom its gossip sees, itself included; a hint
	Drained bool           // takes no traffic; nobody waits for it
	Seen    time.Time      // when a member list first named it
	// Report is nil until the first; the other fields say when it was stored, its place
	// among the agent's reports, and which desired document it acts on.
	Report                         *wire.AppReport
	Stored                         time.Time
	Incarnation, Sequence, Desired uint64

	since time.Time  // deadlines do not count before; zero: it was there before the start
	score wire.Score // for the rollout's seed
	key   agentKey
}
