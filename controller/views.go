package controller

import (
	"errors"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// The ways a request can be refused. The message says what and why.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	ErrInvalid  = errors.New("invalid request")
	ErrStandby  = errors.New("this controller is not the leader")
	ErrDeposed  = errors.New("another controller has taken over")
)

// BundleInfo is a published bundle.
type BundleInfo struct {
	App       wire.App     `json:"app"`
	Version   wire.Version `json:"version"`
	Digest    wire.Digest  `json:"digest"`
	Index     wire.Digest  `json:"index"` // of its full pack
	Files     int          `json:"files"`
	Bytes     int64        `json:"bytes"`  // content
	Packed    int64        `json:"packed"` // what travels
	Authors   []string     `json:"authors"`
	Published time.Time    `json:"published"` // first
	By        string       `json:"by"`        // who published it first
	// Missing: the bus has lost the content, and it has to be published again before it can
	// be rolled out. Only a list says so; of what the bus does not answer about it is false.
	Missing bool `json:"missing,omitempty"`
}

// StartRequest asks for a rollout. Exactly one of Version and Digest names the bundle.
type StartRequest struct {
	App     wire.App      `json:"app"`
	Version wire.Version  `json:"version,omitempty"`
	Digest  wire.Digest   `json:"digest,omitzero"`
	Plan    *rollout.Plan `json:"plan,omitempty"` // nil: the default plan over all regions
	// CheckIndex is the index that a dry run returned; the rollout is refused if the app's
	// state has moved since. Nil: not checked.
	CheckIndex *uint64 `json:"check_index,omitempty"`
	// Acknowledge names the failed rollout that put the bundle's authors in quarantine.
	Acknowledge string `json:"acknowledge,omitempty"`
	// Supersede names the active rollout, paused, waiting or going back, whose place this one takes.
	Supersede string             `json:"supersede,omitempty"`
	Emergency *rollout.Emergency `json:"emergency,omitempty"` // nil: none
}

// PlanView is what a rollout would do.
type PlanView struct {
	App     wire.App     `json:"app"`
	Version wire.Version `json:"version"`
	Digest  wire.Digest  `json:"digest"`
	Index   uint64       `json:"index"` // for StartRequest.CheckIndex
	Plan    rollout.Plan `json:"plan"`
	// Glass: it is an emergency. Until it expires nothing is activated before its approvals, and
	// with them it is held to no bake, gate, approval or freeze of Plan.
	Glass   *rollout.Glass `json:"glass,omitempty"`
	Regions []PlanRegion   `json:"regions"` // in wave order
	Changes bool           `json:"changes"` // false: every region already runs this bundle, and no agent another one
}

// PlanRegion is what a rollout would do in one region.
type PlanRegion struct {
	Wave     int                  `json:"wave"` // from 1
	Region   wire.Region          `json:"region"`
	Agents   int                  `json:"agents"`
	Live     int                  `json:"live"`
	From     wire.Version         `json:"from,omitempty"`   // empty: nothing committed yet
	Others   []rollout.RunSummary `json:"others,omitempty"` // what agents run besides, by version
	Files    []string             `json:"files"`            // changed paths, "+", "-" or "~" before each
	Purge    []string             `json:"purge"`            // selectors
	PurgeFor wire.Duration        `json:"purge_for"`        // predicted, both rounds and the gap, beside the other regions of the wave
	Strategy rollout.Strategy     `json:"strategy"`
	Steps    []rollout.PlanStep   `json:"steps"`   // as the region takes them, in an emergency without what it passes over
	AtOnce   int                  `json:"at_once"` // agents that switch at the same time, at most
	Planes   []PlanPlane          `json:"planes"`  // by name
	Warnings []string             `json:"warnings,omitempty"`
}

// PlanPlane is a data plane of a region and what it declares of itself.
type PlanPlane struct {
	Plane  string   `json:"plane"`  // driver and version, "nginx/1.22.1"
	Traits []string `json:"traits"` // wire.TraitDropFree, wire.TraitArms
	Agents int      `json:"agents"` // serving ones that have it
}

// AppView is the state of one app.
type AppView struct {
	App     wire.App         `json:"app"`
	Summary rollout.Summary  `json:"summary"`
	Rollout *rollout.Rollout `json:"rollout,omitempty"` // the active or last one
	Explain []string         `json:"explain,omitempty"`
	// Doubt is why all this may be old, or why none of it goes on; empty: the bus confirms that this
	// controller leads, and has for long enough that whoever is silent could have been heard, and
	// all orders can be given.
	Doubt string `json:"doubt,omitempty"`
	// Barriers is how far each region's newest purge has come at each of its targets.
	Barriers []BarrierView `json:"barriers,omitempty"`
}

// RegionView is one region.
type RegionView struct {
	Region   wire.Region       `json:"region"`
	Agents   int               `json:"agents"`
	Live     int               `json:"live"`
	Sequence uint64            `json:"sequence"` // of its desired document
	Apps     map[wire.App]Held `json:"apps"`     // app → what it has committed
	CDN      []CDNTarget       `json:"cdn"`
	// LeftBehind is why optional targets have not taken the newest purge: "provider/scope" → reason.
	LeftBehind map[string]string `json:"left_behind,omitempty"`
}

// Held is what a region has committed of an app.
type Held struct {
	Version wire.Version `json:"version"`
	Digest  wire.Digest  `json:"digest"`
	Epoch   wire.Epoch   `json:"epoch"`
}

// AgentView is one enrolled agent.
type AgentView struct {
	Agent    wire.AgentID `json:"agent"`
	Region   wire.Region  `json:"region"`
	Enrolled time.Time    `json:"enrolled"`
	Drained  bool         `json:"drained"`
	Live     bool         `json:"live"`
	Reported time.Time    `json:"reported,omitzero"` // when its last report was stored
	Report   *wire.Report `json:"report,omitempty"`
}

// PurgeView is one item of the purge outbox.
type PurgeView = cdn.Entry

// Event is one thing that happened, for the event stream.
type Event struct {
	ID       uint64            `json:"id"` // ascending; resume after it
	At       time.Time         `json:"at"`
	App      wire.App          `json:"app,omitempty"`
	Region   wire.Region       `json:"region,omitempty"`
	Kind     string            `json:"kind"` // "decision", "agent", "purge", "bundle"
	Text     string            `json:"text"` // one sentence
	Decision *rollout.Decision `json:"decision,omitempty"`
}
