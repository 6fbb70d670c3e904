package rollout

import (
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Kind says what was decided.
type Kind string

// The kinds of decision.
const (
	KindStart    Kind = "start"    // a rollout
	KindStage    Kind = "stage"    // all live agents of a region have it staged
	KindActivate Kind = "activate" // the first agents of a region may switch
	KindWiden    Kind = "widen"    // more agents may switch
	KindStep     Kind = "step"     // a step is confirmed, or its bake over
	KindConfirm  Kind = "confirm"  // every serving agent of a region confirmed
	KindHold     Kind = "hold"     // wait
	KindUnhold   Kind = "unhold"   // go on
	KindPurge    Kind = "purge"    // request a purge round
	KindBarrier  Kind = "barrier"  // a purge round is verified
	KindCommit   Kind = "commit"   // a region's target is its base
	KindPromote  Kind = "promote"  // the next wave
	KindRevert   Kind = "revert"   // take back
	KindPause    Kind = "pause"
	KindResume   Kind = "resume"
	KindAbort    Kind = "abort"
	KindDone     Kind = "done" // the end, whichever
)

// Decision is one thing decided, with all that led to it.
type Decision struct {
	N      uint64            `json:"n"` // ascending from 1 over the app's life
	At     time.Time         `json:"at"`
	Kind   Kind              `json:"kind"`
	Wave   int               `json:"wave"` // index
	Region wire.Region       `json:"region,omitempty"`
	Epoch  wire.Epoch        `json:"epoch,omitempty"`
	Reason string            `json:"reason"`           // a sentence
	Inputs map[string]string `json:"inputs,omitempty"` // name → exact value
}
