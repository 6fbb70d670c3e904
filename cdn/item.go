package cdn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State of an item.
type State string

const (
	// StateIntended: durable, not being sent. Also the state between attempts when
	// the last one is known to have done nothing.
	StateIntended State = "intended"
	// StateSent: durable just before the call. After a crash, or when no usable
	// answer came, the purge may have been done or not; it is sent again.
	StateSent State = "sent"
	// StateAccepted: the provider said yes. The caches may still hold the objects.
	StateAccepted State = "accepted"
	// StateVerified: a Verifier saw fresh content. Terminal.
	StateVerified State = "verified"
	// StateRefused: repeating is pointless until a person acts; Reason says why.
	// Also the state of a cancelled item. Terminal, but for Outbox.Retry.
	StateRefused State = "refused"
)

// ID identifies what an item is about: 32 hex digits.
type ID string

// Item is one selector to purge at one provider.
type Item struct {
	Provider string   `json:"provider"`       // Purger.Name
	Scope    string   `json:"scope"`          // as in Request
	App      string   `json:"app"`            // what was rolled out; letters, digits, - and _, like Region
	Region   string   `json:"region"`         // where
	Epoch    uint64   `json:"epoch"`          // of the activation that this purge follows; 0: none, and it goes after those that do
	Selector Selector `json:"selector"`       // what to purge; of kind Fence: what to fence
	Soft     bool     `json:"soft,omitempty"` // not part of the ID
	Round    int      `json:"round"`          // 1, 2, …: a repetition is an item of its own

	// NotBefore, After and Gap delay an item. With After, it waits until that
	// item was accepted and Gap has passed since; it is refused when that item
	// is refused.
	NotBefore time.Time     `json:"not_before,omitzero"`
	After     ID            `json:"after,omitempty"`
	Gap       time.Duration `json:"gap,omitempty"` // nanoseconds
}

// ID is a hash of provider, scope, app, region, epoch, selector and round, and
// so the same for the same intention after a crash.
func (i Item) ID() ID {
	h := sha256.New()
	for _, field := range []string{i.Provider, i.Scope, i.App, i.Region, i.Selector.String()} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(field)))
		h.Write([]byte(field))
	}
	_ = binary.Write(h, binary.BigEndian, []uint64{i.Epoch, uint64(i.Round)})
	return ID(hex.EncodeToString(h.Sum(nil)[:16]))
}

// Entry is an item with its history in the outbox.
type Entry struct {
	ID         ID         `json:"id"`
	Item       Item       `json:"item"`
	State      State      `json:"state"`
	Reason     string     `json:"reason,omitempty"`     // of StateRefused
	PurgeID    string     `json:"purge_id,omitempty"`   // the provider's, from StateAccepted on
	Attempts   int        `json:"attempts"`             // calls that included this item
	LastError  string     `json:"last_error,omitempty"` // of the latest failed attempt
	DueAt      time.Time  `json:"due_at,omitzero"`      // no attempt before this; zero means at once
	SentAt     time.Time  `json:"sent_at,omitzero"`     // of the latest attempt
	AcceptedAt time.Time  `json:"accepted_at,omitzero"` // zero before StateAccepted
	VerifiedAt time.Time  `json:"verified_at,omitzero"` // zero before StateVerified
	Evidence   []Evidence `json:"evidence,omitempty"`   // what Verify saw
	Skipped    string     `json:"skipped,omitempty"`    // why there was no fence to raise, in StateAccepted: nothing was done
	// PausedUntil is when an intended entry of an account that is rate-limited may be sent at
	// the soonest. Get and List find it out, it is not stored.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Split       int       `json:"split,omitempty"` // a refused batch is halved so often for this item
}

// Open reports whether the outbox still has to send the entry.
func (e Entry) Open() bool { return e.State == StateIntended || e.State == StateSent }

// Rounds returns the items that purge every selector and, after the gap that
// the provider advises, once more. gap raises that gap where the origin may
// take longer to answer; template holds everything but selector and order, and
// its round, 1 by default, is that of the first purge.
func Rounds(caps Capabilities, template Item, selectors []Selector, gap time.Duration) []Item {
	var items []Item
	for _, s := range Coalesce(selectors) {
		first := template
		first.Selector, first.Round = s, max(1, template.Round)
		items = append(items, first)
		if wait := max(gap, caps.Kinds[s.Kind].Gap); wait > 0 {
			second := first
			second.Round, second.After, second.Gap = first.Round+1, first.ID(), wait
			items = append(items, second)
		}
	}
	return items
}

// record is an Entry on disk: a version byte, then JSON. The selector is in
// its text form, times are RFC 3339 with nanoseconds.
const recordVersion = 1

var (
	errRecord  = errors.New("bad outbox record")
	errVersion = errors.New("outbox record of another version")
)

func encodeEntry(e Entry) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append([]byte{recordVersion}, body...), nil
}

func decodeEntry(id ID, data []byte) (Entry, error) {
	var e Entry
	if len(data) == 0 {
		return e, fmt.Errorf("%w %s: it is empty", errRecord, id)
	}
	if data[0] != recordVersion {
		return e, fmt.Errorf("%w: %s has %d, known is %d", errVersion, id, data[0], recordVersion)
	}
	if err := json.Unmarshal(data[1:], &e); err != nil {
		return e, fmt.Errorf("%w %s: %w", errRecord, id, err)
	}
	switch e.State {
	case StateIntended, StateSent, StateAccepted, StateVerified, StateRefused:
	default:
		return e, fmt.Errorf("%w %s: unknown state %q", errRecord, id, e.State)
	}
	if e.ID != id || e.Item.ID() != id {
		return e, fmt.Errorf("%w %s: the item has another id", errRecord, id)
	}
	return e, nil
}
