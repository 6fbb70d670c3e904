package rollout

import (
	"github.com/ebbgate/ebbgate/wire"
)

// Effect is something the shell has to do. It may be asked for again, under the same ID:
// a [Publish], a [Purge] or a [Decide].
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
// answer with [PurgeVerified] or [PurgeFailed]. An empty From: the region's earlier content
// is not known, or there was none.
type Purge struct {
	App    wire.App      `json:"app"`
	Region wire.Region   `json:"region"`
	Epoch  wire.Epoch    `json:"epoch"`
	Round  int           `json:"round"`
	From   []wire.Digest `json:"from"`
	To     wire.Digest   `json:"to"`
}

// Decide asks to append a decision to the audit log. Decisions are numbered: one at or below
// the newest number in the log is there already.
type Decide struct {
	App      wire.App `json:"app"`
	Decision Decision `json:"decision"`
}
