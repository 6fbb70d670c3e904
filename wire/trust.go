package wire

import (
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Trust verifies documents against one root. It is immutable and safe for concurrent
// use; [Trust.Update] returns a new one.
type Trust struct {
	root Root
	raw  []byte
}

// NewTrust takes a root as the start of trust: from the file an agent was enrolled
// with. It has to be signed by its own threshold, which proves it whole, not true. An
// expired root is taken: a node that starts after a long night goes on serving.
func NewTrust(envelope []byte) (*Trust, error) {
	r, err := peekRoot(envelope)
	if err != nil {
		return nil, err
	}
	if _, err := open("root", TypeRoot, MaxRoot, envelope, r.Roles[RoleRoot]); err != nil {
		return nil, err
	}
	return &Trust{*r, slices.Clone(envelope)}, nil
}

// Root returns the root document. The caller must not change it.
func (t *Trust) Root() Root { return t.root }

// Envelope returns the signed root as it was given.
func (t *Trust) Envelope() []byte { return slices.Clone(t.raw) }

// Fleet returns the fleet the root is for.
func (t *Trust) Fleet() Fleet { return t.root.Fleet }

// Update accepts the next root: exactly one version higher, for the same fleet, not
// expired at now, and signed by the root thresholds of both.
func (t *Trust) Update(envelope []byte, now time.Time) (*Trust, error) {
	next, err := NewTrust(envelope)
	if err != nil {
		return nil, err
	}
	if _, err := open("root", TypeRoot, MaxRoot, envelope, t.root.Roles[RoleRoot]); err != nil {
		return nil, fmt.Errorf("root %d, by the keys of root %d: %w", next.root.Version, t.root.Version, err)
	}
	switch {
	case next.root.Fleet != t.root.Fleet:
		return nil, &FieldError{"root", "fleet", fmt.Sprintf("is %q, want %q", next.root.Fleet, t.root.Fleet)}
	case next.root.Version != t.root.Version+1:
		return nil, fmt.Errorf("root: %w: version %d after %d", ErrReplay, next.root.Version, t.root.Version)
	case now.After(next.root.Expires):
		return nil, fmt.Errorf("root: %w at %s", ErrExpired, next.root.Expires.Format(time.RFC3339))
	}
	return next, nil
}

// OpenManifest verifies a manifest's payload against its detached signatures and
// returns it with its digest.
func (t *Trust) OpenManifest(payload []byte, sigs []Signature) (*Manifest, Digest, error) {
	if len(payload) > MaxManifest {
		return nil, Digest{}, fmt.Errorf("manifest: %w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxManifest)
	}
	e := &dsse.Envelope{PayloadType: TypeManifest, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: sigs}
	if _, err := verify("manifest", e, t.root.Roles[RoleAuthor]); err != nil {
		return nil, Digest{}, err
	}
	m, err := DecodeManifest(payload)
	if err != nil {
		return nil, Digest{}, err
	}
	if m.Fleet != "" && m.Fleet != t.root.Fleet {
		return nil, Digest{}, &FieldError{"manifest", "fleet", fmt.Sprintf("is %q, this fleet is %q", m.Fleet, t.root.Fleet)}
	}
	return m, DigestOf(payload), nil
}

// Authors returns the ids of the release authors that really signed a manifest's payload,
// in the order of the root: the ids that signatures bear prove nothing.
func (t *Trust) Authors(payload []byte, sigs []Signature) []string {
	e := &dsse.Envelope{PayloadType: TypeManifest, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: sigs}
	var ids []string
	for _, k := range t.root.Roles[RoleAuthor].Keys {
		if _, err := verify("manifest", e, KeyRole{Threshold: 1, Keys: []PublicKey{k}}); err == nil {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// OpenDesired verifies an encoded desired document for one region.
func (t *Trust) OpenDesired(envelope []byte, region Region) (*Desired, error) {
	d := new(Desired)
	if err := t.openAs("desired", TypeDesired, MaxDesired, envelope, d); err != nil {
		return nil, err
	}
	if err := t.checkFleet("desired", d.Fleet); err != nil {
		return nil, err
	}
	if d.Region != region {
		return nil, &FieldError{"desired", "region", fmt.Sprintf("is %q, want %q", d.Region, region)}
	}
	return d, nil
}

// OpenBeacon verifies an encoded beacon.
func (t *Trust) OpenBeacon(envelope []byte) (*Beacon, error) {
	b := new(Beacon)
	if err := t.openAs("beacon", TypeBeacon, MaxBeacon, envelope, b); err != nil {
		return nil, err
	}
	if err := t.checkFleet("beacon", b.Fleet); err != nil {
		return nil, err
	}
	return b, nil
}

// OpenReport verifies an encoded report of the agent whose key was enrolled. Which region
// it speaks for is the caller's to hold against the subject it came on.
func (t *Trust) OpenReport(envelope []byte, agent AgentID, key PublicKey) (*Report, error) {
	payload, err := open("report", TypeReport, MaxReport, envelope, KeyRole{1, []PublicKey{key}})
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := decode("report", MaxReport, payload, r); err != nil {
		return nil, err
	}
	if r.Agent != agent {
		return nil, &FieldError{"report", "agent", fmt.Sprintf("is %q, the key is %q's", r.Agent, agent)}
	}
	if err := t.checkFleet("report", r.Fleet); err != nil {
		return nil, err
	}
	return r, nil
}

func (t *Trust) openAs(name, payloadType string, limit int, envelope []byte, doc document) error {
	payload, err := open(name, payloadType, limit, envelope, t.root.Roles[RoleController])
	if err != nil {
		return err
	}
	return decode(name, limit, payload, doc)
}

func (t *Trust) checkFleet(doc string, f Fleet) error {
	if f != t.root.Fleet {
		return &FieldError{doc, "fleet", fmt.Sprintf("is %q, this fleet is %q", f, t.root.Fleet)}
	}
	return nil
}

// peekRoot reads a root without trusting it, to learn which keys claim to have signed it.
func peekRoot(envelope []byte) (*Root, error) {
	var e dsse.Envelope
	if err := DecodeJSON("root envelope", MaxRoot, envelope, &e); err != nil {
		return nil, err
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, fmt.Errorf("root: %w: %v", ErrInvalid, err)
	}
	r := new(Root)
	if err := decode("root", MaxRoot, payload, r); err != nil {
		return nil, err
	}
	return r, nil
}
