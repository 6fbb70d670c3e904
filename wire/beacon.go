package wire

import "time"

// MaxBeacon bounds a beacon with its signature.
const MaxBeacon = 256 << 10

// Beacon is the controller's heartbeat. An agent that sees a head above what it
// holds has been cut off from its orders, one that sees no beacon from the controller;
// it raises an alarm and goes on serving.
type Beacon struct {
	Fleet Fleet             `json:"fleet"`
	At    time.Time         `json:"at"`
	Heads map[Region]uint64 `json:"heads"` // region → sequence of its newest desired document
	Root  uint64            `json:"root"`  // version of the newest root
	Audit Digest            `json:"audit,omitzero"`
}

// Encode validates b and returns its payload bytes.
func (b *Beacon) Encode() ([]byte, error) { return encode(b) }

// Validate implements the strict check of the document.
func (b *Beacon) Validate() error {
	c := &checker{doc: "beacon"}
	c.token("fleet", string(b.Fleet))
	c.that(!b.At.IsZero(), "at", "is missing")
	for _, r := range Keys(b.Heads) {
		c.token("heads", string(r))
	}
	return c.err
}
