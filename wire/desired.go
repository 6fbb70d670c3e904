package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// MaxDesired bounds a desired document with its signatures: it must fit one NATS
// message of the default maximum, base64 included.
const MaxDesired = 512 << 10

// Desired is what the controller orders of one region: the whole of it, every time,
// so that an agent that missed any number of earlier ones has lost nothing.
type Desired struct {
	Fleet    Fleet         `json:"fleet"`
	Region   Region        `json:"region"`
	Sequence uint64        `json:"sequence"` // ascending per region; an agent never goes back
	Issued   time.Time     `json:"issued"`
	Apps     map[App]Order `json:"apps"` // app → order
}

// Order is what a region runs of one app. Base is the state the region has
// committed, Next the change under way.
//
// An agent runs Next if Next is an activation, its time has come and the cohort holds
// the agent; else it runs Base. It never goes to a lower epoch than it has activated:
// during a revert the agents that are not yet in the cohort keep what they run.
type Order struct {
	Base *Target  `json:"base,omitempty"` // nil: the region has committed nothing yet
	Next *Transit `json:"next,omitempty"` // nil: nothing is under way
}

// Target names a bundle at an epoch and says how to get it.
type Target struct {
	Epoch   Epoch     `json:"epoch"`
	Digest  Digest    `json:"digest"`
	Version Version   `json:"version"`
	Packs   []PackRef `json:"packs"` // on offer, preferred first; at least one full pack
	Soak    Duration  `json:"soak"`  // how long it must be confirmed before it is last known good
}

// PackRef offers one pack of a bundle.
type PackRef struct {
	Base  Digest `json:"base,omitzero"` // the bundle a delta applies to; zero: a full pack
	Index Digest `json:"index"`         // the blob that lists the pack's chunks
}

// Phase says how far a change may go on a node.
type Phase string

// The phases an order can ask for.
const (
	PhaseStage    Phase = "stage"    // fetch, verify, validate; change nothing that serves
	PhaseActivate Phase = "activate" // switch, if the cohort holds the agent
)

// Transit is a change under way.
type Transit struct {
	Target
	Phase  Phase  `json:"phase"`
	Cohort Cohort `json:"cohort"`
	// NotBefore and Expires bound when an agent may switch. They protect against an
	// order that was held back; a clock that is off by minutes only delays.
	NotBefore time.Time `json:"not_before,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Healthy   Duration  `json:"healthy"` // how long it must stay live and pass its probes before it is confirmed
}

// Cohort is the set of agents that may switch: those named, and those whose score is at most
// CutOff but for Except. Widening it is raising CutOff, naming, and shortening Except, so an
// agent that was in stays in.
type Cohort struct {
	Seed   string    `json:"seed"`             // of the rollout; keeps the same nodes from always going first
	CutOff Score     `json:"cutoff"`           // highest score that is in; zero: none by score
	Named  []AgentID `json:"named,omitempty"`  // in ascending order
	Except []AgentID `json:"except,omitempty"` // who was not there to be counted when CutOff passed, in ascending order
}

// Score orders the agents of a region for one rollout. It is written as 16
// hexadecimal digits: JSON numbers above 2^53 do not survive every reader.
type Score uint64

// AllScores is a cut-off that holds every agent.
const AllScores Score = 1<<64 - 1

// ScoreOf returns the first eight bytes, big-endian, of SHA-256(seed, 0, id). It is
// never zero.
func ScoreOf(seed string, id AgentID) Score {
	sum := sha256.Sum256([]byte(seed + "\x00" + string(id)))
	return max(1, Score(binary.BigEndian.Uint64(sum[:8])))
}

// Has reports whether the cohort holds the agent.
func (c Cohort) Has(id AgentID) bool { return c.Holds(id, ScoreOf(c.Seed, id)) }

// Holds is Has for an agent whose score is known.
func (c Cohort) Holds(id AgentID, s Score) bool {
	if _, named := slices.BinarySearch(c.Named, id); named {
		return true
	}
	_, except := slices.BinarySearch(c.Except, id)
	return s <= c.CutOff && !except
}

// String returns 16 hexadecimal digits.
func (s Score) String() string { return fmt.Sprintf("%016x", uint64(s)) }

// MarshalText implements [encoding.TextMarshaler].
func (s Score) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Score) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || Score(n).String() != string(text) {
		return fmt.Errorf("%q is not 16 lower-case hexadecimal digits", text)
	}
	*s = Score(n)
	return nil
}

// Encode validates d and returns its payload bytes.
func (d *Desired) Encode() ([]byte, error) { return encode(d) }

// Validate implements the strict check of the document.
func (d *Desired) Validate() error {
	c := &checker{doc: "desired"}
	c.token("fleet", string(d.Fleet))
	c.token("region", string(d.Region))
	c.that(d.Sequence > 0, "sequence", "is missing")
	c.that(!d.Issued.IsZero(), "issued", "is missing")
	for _, app := range Keys(d.Apps) {
		c.token("apps", string(app))
		o, field := d.Apps[app], "apps."+string(app)
		if o.Base != nil {
			o.Base.check(c, field+".base")
		}
		if o.Next == nil {
			continue
		}
		n := o.Next
		n.check(c, field+".next")
		c.that(o.Base == nil || n.Epoch > o.Base.Epoch, field+".next.epoch", "is %d, not above the base's", n.Epoch)
		c.that(n.Phase == PhaseStage || n.Phase == PhaseActivate, field+".next.phase", "is %q, want stage or activate", n.Phase)
		c.that(len(n.Cohort.Seed) <= 64, field+".next.cohort.seed", "is longer than 64 bytes")
		c.ascending(field+".next.cohort.named", n.Cohort.Named)
		c.ascending(field+".next.cohort.except", n.Cohort.Except)
		c.that(n.Healthy >= 0, field+".next.healthy", "is negative")
		c.that(n.NotBefore.IsZero() || n.Expires.IsZero() || n.NotBefore.Before(n.Expires), field+".next.expires", "is not after not_before")
	}
	return c.err
}

func (t *Target) check(c *checker, field string) {
	c.that(t.Epoch > 0, field+".epoch", "is missing")
	c.that(!t.Digest.IsZero(), field+".digest", "is missing")
	if err := t.Version.Check(); err != nil {
		c.fail(field+".version", "%v", err)
	}
	full := false
	for i, p := range t.Packs {
		c.that(!p.Index.IsZero(), fmt.Sprintf("%s.packs[%d].index", field, i), "is missing")
		full = full || p.Base.IsZero()
	}
	c.that(full, field+".packs", "offers no full pack")
	c.that(len(t.Packs) <= 16, field+".packs", "offers %d packs, at most 16 are allowed", len(t.Packs))
	c.that(t.Soak >= 0, field+".soak", "is negative")
}
