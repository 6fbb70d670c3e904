package wire

import (
	"fmt"
	"strings"
	"time"
)

// MaxReport bounds a report with its signature.
const MaxReport = 64 << 10

// MaxCrashes is the highest count of crashes a report carries; it stands for any above.
const MaxCrashes = 1000

// Report is the whole state of an agent. Each one replaces the one before it: a lost
// report costs nothing once the next arrives.
type Report struct {
	Fleet       Fleet             `json:"fleet"`
	Region      Region            `json:"region"`
	Agent       AgentID           `json:"agent"`
	Incarnation uint64            `json:"incarnation"` // of the agent's process; ascending, durable
	Sequence    uint64            `json:"sequence"`    // within the incarnation, ascending from 1
	At          time.Time         `json:"at"`
	Build       string            `json:"build"`   // version of the agent
	Desired     uint64            `json:"desired"` // sequence of the desired document it acts on
	Apps        map[App]AppReport `json:"apps"`    // app → state
	Refused     map[string]uint64 `json:"refused,omitempty"`
	Members     []AgentID         `json:"members,omitempty"` // who this agent's gossip believes alive, itself included; a hint
}

// AppReport is the state of one app on a node.
type AppReport struct {
	Plane   string    `json:"plane"`             // data plane: driver and version, "nginx/1.22.1"
	Traits  []string  `json:"traits,omitempty"`  // what the data plane declares of itself, tokens in ascending order
	Running *Running  `json:"running,omitempty"` // what the node serves; nil: nothing yet
	Next    *Progress `json:"next,omitempty"`    // how far the newest order has come
	LKG     Digest    `json:"lkg,omitzero"`      // last known good
	Bad     []Digest  `json:"bad,omitempty"`     // bundles this node refuses to activate
}

// The traits of a data plane. A reader passes over those it does not know.
const (
	TraitArms     = "arms"      // it preloads a release before the switch
	TraitDropFree = "drop-free" // a switch loses no request
)

// State is how far a release has come on a node.
type State string

// The states, in the order a good release passes them.
const (
	StateStaging   State = "staging"   // fetching and verifying
	StateStaged    State = "staged"    // on disk, validated by the data plane
	StateArmed     State = "armed"     // preloaded, one switch away
	StateSwitching State = "switching" // the switch has begun
	StateActive    State = "active"    // switched, not yet read back
	StateConfirmed State = "confirmed" // read back live for the healthy time
	StateCommitted State = "committed" // soaked: last known good
	StateFailed    State = "failed"    // not activated; Error says why
	StateReverted  State = "reverted"  // activated, found bad, and taken back by the node
)

// Running is what a node serves.
type Running struct {
	Epoch    Epoch     `json:"epoch"`
	Digest   Digest    `json:"digest"`
	Version  Version   `json:"version"`
	State    State     `json:"state"` // active, confirmed or committed
	Since    time.Time `json:"since"` // when it was activated
	Evidence string    `json:"evidence,omitempty"`
	Error    string    `json:"error,omitempty"`   // why it is not healthy now; empty: healthy
	Crashes  int       `json:"crashes,omitempty"` // of the agent, soon after the activation of this release or the return to it; 0..MaxCrashes
}

// Progress is how far an order has come on a node that does not run it (yet).
type Progress struct {
	Epoch   Epoch   `json:"epoch"`
	Digest  Digest  `json:"digest"`
	Version Version `json:"version"`
	State   State   `json:"state"` // staging, staged, armed, switching, failed or reverted
	Error   string  `json:"error,omitempty"`
}

// Encode validates r and returns its payload bytes.
func (r *Report) Encode() ([]byte, error) { return encode(r) }

// Newer reports whether r replaces old.
func (r *Report) Newer(old *Report) bool {
	if old == nil || r.Incarnation != old.Incarnation {
		return old == nil || r.Incarnation > old.Incarnation
	}
	return r.Sequence > old.Sequence
}

// Validate implements the strict check of the document.
func (r *Report) Validate() error {
	c := &checker{doc: "report"}
	c.token("fleet", string(r.Fleet))
	c.token("region", string(r.Region))
	c.token("agent", string(r.Agent))
	c.that(r.Sequence > 0, "sequence", "is missing")
	c.that(r.Incarnation > 0, "incarnation", "is missing")
	c.that(len(r.Build) <= 128 && printable(r.Build), "build", "is not a printable text of at most 128 bytes")
	for i, id := range r.Members {
		c.token(fmt.Sprintf("members[%d]", i), string(id))
	}
	c.that(len(r.Members) <= 1024, "members", "are %d, at most 1024 are allowed", len(r.Members))
	for _, app := range Keys(r.Apps) {
		c.token("apps", string(app))
		a, field := r.Apps[app], "apps."+string(app)
		c.that(len(a.Plane) <= 128 && printable(a.Plane), field+".plane", "is not a printable text of at most 128 bytes")
		c.that(len(a.Traits) <= 16, field+".traits", "has %d entries, at most 16 are allowed", len(a.Traits))
		for i, trait := range a.Traits {
			at := fmt.Sprintf("%s.traits[%d]", field, i)
			c.token(at, trait)
			c.that(i == 0 || a.Traits[i-1] < trait, at, "is not above the one before")
		}
		c.that(len(a.Bad) <= 64, field+".bad", "has %d entries, at most 64 are allowed", len(a.Bad))
		if p := a.Running; p != nil {
			switch p.State {
			case StateActive, StateConfirmed, StateCommitted:
			default:
				c.fail(field+".running.state", "is %q", p.State)
			}
			c.that(p.Epoch > 0 && !p.Digest.IsZero(), field+".running", "names no release")
			c.that(0 <= p.Crashes && p.Crashes <= MaxCrashes, field+".running.crashes", "is %d, allowed are 0 to %d", p.Crashes, MaxCrashes)
		}
		if p := a.Next; p != nil {
			switch p.State {
			case StateStaging, StateStaged, StateArmed, StateSwitching, StateFailed, StateReverted:
			default:
				c.fail(field+".next.state", "is %q", p.State)
			}
			c.that(p.Epoch > 0 && !p.Digest.IsZero(), field+".next", "names no release")
		}
	}
	return c.err
}

// Clip shortens an error or evidence to what a report can carry.
func Clip(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	head := strings.ToValidUTF8(s[:most], "")
	return fmt.Sprintf("%s… (%d bytes more)", head, len(s)-len(head))
}
