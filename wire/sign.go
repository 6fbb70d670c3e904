package wire

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Payload types: each document has its own, so that a signature under one can never be
// presented as another.
const (
	TypeRoot     = "application/vnd.ebbgate.root.v1+json"
	TypeManifest = "application/vnd.ebbgate.bundle.v1+json"
	TypeDesired  = "application/vnd.ebbgate.desired.v1+json"
	TypeReport   = "application/vnd.ebbgate.report.v1+json"
	TypeBeacon   = "application/vnd.ebbgate.beacon.v1+json"
)

// Signature is one signature of an envelope. The signatures of a manifest travel apart
// from it, in the pack's index, so that the manifest can travel as a delta.
type Signature = dsse.Signature

// maxSignatures bounds the work an envelope can ask for before it is refused.
const maxSignatures = 16

// Sign signs a payload with every key.
func Sign(payloadType string, payload []byte, keys ...PrivateKey) ([]Signature, error) {
	e, err := envelope(payloadType, payload, keys)
	if err != nil {
		return nil, err
	}
	return e.Signatures, nil
}

// Seal signs a payload with every key and returns the encoded envelope.
func Seal(payloadType string, payload []byte, keys ...PrivateKey) ([]byte, error) {
	e, err := envelope(payloadType, payload, keys)
	if err != nil {
		return nil, err
	}
	data, err := EncodeJSON(e)
	if err != nil {
		return nil, err
	}
	if limit, ok := maxEnvelope[payloadType]; ok && len(data) > limit {
		return nil, fmt.Errorf("cannot sign: %w: the envelope has %d bytes, at most %d", ErrTooLarge, len(data), limit)
	}
	return data, nil
}

// maxEnvelope is what every reader refuses, so that no signer makes it.
var maxEnvelope = map[string]int{ // payload type → bytes
	TypeRoot: MaxRoot, TypeDesired: MaxDesired, TypeReport: MaxReport, TypeBeacon: MaxBeacon,
}

func envelope(payloadType string, payload []byte, keys []PrivateKey) (*dsse.Envelope, error) {
	signers := make([]dsse.Signer, len(keys))
	for i, k := range keys {
		signers[i] = signer{k}
	}
	es, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return es.SignPayload(context.Background(), payloadType, payload)
}

// open verifies an encoded envelope and returns its payload. Size, type and number of
// signatures are checked before any signature is: the dsse verifier checks none of them.
func open(name, payloadType string, limit int, data []byte, role KeyRole) ([]byte, error) {
	var e dsse.Envelope
	if err := DecodeJSON(name+" envelope", limit, data, &e); err != nil {
		return nil, err
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("%s envelope: %w: payloadType is %q, want %q", name, ErrInvalid, e.PayloadType, payloadType)
	}
	return verify(name, &e, role)
}

// verify counts the valid signatures of distinct keys against the role's threshold.
// Signatures that cannot be decoded are left out first: to the dsse verifier one such
// fails an envelope that is otherwise good.
func verify(name string, e *dsse.Envelope, role KeyRole) ([]byte, error) {
	if len(e.Signatures) > maxSignatures {
		return nil, fmt.Errorf("%s envelope: %w: %d signatures, at most %d", name, ErrTooLarge, len(e.Signatures), maxSignatures)
	}
	readable := dsse.Envelope{PayloadType: e.PayloadType, Payload: e.Payload}
	for _, s := range e.Signatures {
		if decodable(s.Sig) {
			readable.Signatures = append(readable.Signatures, s)
		}
	}
	var verifiers []dsse.Verifier
	distinct := make(map[PublicKey]bool)
	for _, k := range role.Keys {
		if !distinct[k] && !k.IsZero() {
			distinct[k] = true
			verifiers = append(verifiers, verifier{k})
		}
	}
	ev, err := dsse.NewMultiEnvelopeVerifier(role.Threshold, verifiers...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", name, ErrSignature, err)
	}
	if len(readable.Signatures) == 0 {
		return nil, fmt.Errorf("%s: %w: it is not signed", name, ErrSignature)
	}
	accepted, payload, err := ev.VerifyAndDecode(context.Background(), &readable)
	switch {
	case err != nil && payload == nil && len(accepted) < role.Threshold:
		return nil, fmt.Errorf("%s: %w: %d good signatures of %d trusted keys, want %d", name, ErrSignature, len(accepted), len(verifiers), role.Threshold)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %v", name, ErrSignature, err)
	}
	return payload, nil
}

// decodable reports whether the dsse package can decode a signature: like it, and as DSSE
// asks, in either alphabet of base64.
func decodable(sig string) bool {
	_, std := base64.StdEncoding.DecodeString(sig)
	_, url := base64.URLEncoding.DecodeString(sig)
	return sig != "" && (std == nil || url == nil)
}
