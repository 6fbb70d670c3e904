package rollout

import (
	"fmt"
	"slices"

	"github.com/ebbgate/ebbgate/wire"
)

// Effect is something the shell has to do. It may be asked for again, under the same ID:
// a [Publish], a [Purge], a [Measure] or a [Decide].
type Effect interface {
	// ID is the same whenever the same effect is asked for.
	ID() string
}

// Publish asks to publish the region's order of this app, as [OrderFor] gives it now.
// Several Publish of one region are one.
type Publish struct {
	App    wire.App    `json:"app"`
	Region wire.Region `json:"region"`
}

// Purge asks to purge what the region may have served of From and is not in To, and to
// answer with [PurgeVerified] or [PurgeFailed], and before with [PurgeUnverified] as often as need be. An empty From: the region's earlier content
// is not known, or there was none.
type Purge struct {
	App    wire.App    `json:"app"`
	Region wire.Region `json:"region"`
	Epoch  wire.Epoch  `json:"epoch"`
	Round  int         `json:"round"`
	From   []Served    `json:"from"`
	To     wire.Digest `json:"to"`
	// Same are earlier epochs, ascending, at which the region served To and nothing else: what is
	// cached under them is not purged, and not stale.
	Same []wire.Epoch `json:"same,omitempty"`
}

// Measure asks to read a gate and to answer with [Measured], also when there is no answer.
// An answer that is lost is asked for again in a new round.
type Measure struct {
	App     wire.App       `json:"app"`
	Rollout string         `json:"rollout"`
	Version wire.Version   `json:"version"`
	Region  wire.Region    `json:"region"`
	Epoch   wire.Epoch     `json:"epoch"`
	Step    int            `json:"step"` // from 1
	Gate    Gate           `json:"gate"`
	Round   int            `json:"round"`
	Cohort  []wire.AgentID `json:"cohort"` // agents of the region that switched
	Rest    []wire.AgentID `json:"rest"`   // its others, or without any those of the regions yet to come
}

// Decide asks to append a decision to the audit log. Decisions are numbered: one at or below
// the newest number in the log is there already.
type Decide struct {
	App      wire.App `json:"app"`
	Decision Decision `json:"decision"`
}

// ID implements [Effect].
func (e Publish) ID() string { return fmt.Sprintf("publish/%s/%s", e.App, e.Region) }

// ID implements [Effect].
func (e Purge) ID() string {
	return fmt.Sprintf("purge/%s/%s/%d/%d", e.App, e.Region, e.Epoch, e.Round)
}

// ID implements [Effect].
func (e Measure) ID() string {
	return fmt.Sprintf("measure/%s/%s/%d/%s/%d", e.App, e.Region, e.Epoch, e.Gate.Name, e.Round)
}

// ID implements [Effect].
func (e Decide) ID() string { return fmt.Sprintf("decide/%s/%d", e.App, e.Decision.N) }

// OrderFor returns what the region is to be told of the app. It depends on the Record only.
// The caller must not change what it points to.
func OrderFor(s State, r wire.Region) wire.Order { return s.Regions[r].order() }

func (rr RegionRecord) order() wire.Order { return wire.Order{Base: rr.Committed, Next: rr.Next} }

// Pending returns every effect that s does not know to be done: after a start, the shell
// carries them out before it feeds the first event that is not [Members] or [Reported]. Open
// readings are not among them: they are asked for again.
func Pending(s State) []Effect {
	var effects []Effect
	if s.Rollout != nil {
		for _, d := range s.Rollout.Decisions {
			effects = append(effects, Decide{s.App, d})
		}
	}
	for _, r := range wire.Keys(s.Regions) {
		effects = append(effects, Publish{s.App, r})
	}
	for _, r := range wire.Keys(s.Regions) {
		if p := s.Regions[r].Purge; p != nil && p.open() {
			effects = append(effects, purgeOf(s.App, r, s.Regions[r]))
		}
	}
	return effects
}

func purgeOf(app wire.App, r wire.Region, rr RegionRecord) Purge {
	p := rr.Purge
	return Purge{App: app, Region: r, Epoch: p.Epoch, Round: p.Round, From: slices.Clone(p.From), To: p.To, Same: rr.sameEpochs()}
}
