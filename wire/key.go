package wire

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// PublicKey is an Ed25519 public key, written as "ed25519:" and unpadded base64url.
type PublicKey struct{ key [ed25519.PublicKeySize]byte }

// PrivateKey is an Ed25519 private key, written as "ed25519-private:" and the unpadded
// base64url of its seed. Its String shows the public half only.
type PrivateKey struct{ key ed25519.PrivateKey }

const (
	publicPrefix  = "ed25519:"
	privatePrefix = "ed25519-private:"
)

// GenerateKey makes a key from 32 bytes of r, which is crypto/rand.Reader outside tests.
func GenerateKey(r io.Reader) (PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(r, seed); err != nil {
		return PrivateKey{}, fmt.Errorf("cannot generate a key: %w", err)
	}
	return PrivateKey{ed25519.NewKeyFromSeed(seed)}, nil
}

// ParsePrivateKey reads what [PrivateKey.Secret] wrote; white space around it is ignored.
func ParsePrivateKey(s string) (PrivateKey, error) {
	b, ok := strings.CutPrefix(strings.TrimSpace(s), privatePrefix)
	seed, err := base64.RawURLEncoding.Strict().DecodeString(b)
	if !ok || err != nil || len(seed) != ed25519.SeedSize {
		return PrivateKey{}, errors.New("not a private key: want " + privatePrefix + " and 43 characters of base64url")
	}
	return PrivateKey{ed25519.NewKeyFromSeed(seed)}, nil
}

// Secret returns the text form of the private key. It belongs into a file of mode 0600
// and nowhere else.
func (k PrivateKey) Secret() string {
	return privatePrefix + base64.RawURLEncoding.EncodeToString(k.key.Seed())
}

// Public returns the public half.
func (k PrivateKey) Public() (p PublicKey) {
	if len(k.key) == ed25519.PrivateKeySize {
		copy(p.key[:], k.key[ed25519.SeedSize:])
	}
	return p
}

// String returns the public half, so that a key printed by mistake gives nothing away.
func (k PrivateKey) String() string { return k.Public().String() }

// Format implements [fmt.Formatter]: no verb, %#v and %d included, shows the secret.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// String returns the text form.
func (k PublicKey) String() string {
	return publicPrefix + base64.RawURLEncoding.EncodeToString(k.key[:])
}

// ID returns the first 16 bytes of the key's SHA-256 in hexadecimal. It follows from the
// key itself: one key cannot be listed under two ids to satisfy a threshold of two.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(k.key[:])
	return hex.EncodeToString(sum[:16])
}

// MarshalText implements [encoding.TextMarshaler].
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// IsZero reports whether k is no key. The zero key is a point of small order, for which
// anyone can make signatures: it is never accepted.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// UnmarshalText implements [encoding.TextUnmarshaler]. There is one spelling of a key.
func (k *PublicKey) UnmarshalText(text []byte) error {
	b, ok := strings.CutPrefix(string(text), publicPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(b)
	if !ok || err != nil || len(raw) != ed25519.PublicKeySize {
		return errors.New("not a public key: want " + publicPrefix + " and 43 characters of base64url")
	}
	p := PublicKey{[ed25519.PublicKeySize]byte(raw)}
	if p.String() != string(text) || p.IsZero() {
		return errors.New("not a public key: it is zero or not in its one spelling")
	}
	*k = p
	return nil
}

// signer and verifier adapt the keys to the dsse package.
type signer struct{ PrivateKey }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	if len(s.key) != ed25519.PrivateKeySize {
		return nil, errors.New("cannot sign: the key is empty")
	}
	return ed25519.Sign(s.key, data), nil
}
func (s signer) KeyID() (string, error) { return s.Public().ID(), nil }

type verifier struct{ PublicKey }

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.key[:], data, sig) {
		return ErrSignature
	}
	return nil
}
func (v verifier) KeyID() (string, error)   { return v.ID(), nil }
func (v verifier) Public() crypto.PublicKey { return ed25519.PublicKey(v.key[:]) }
