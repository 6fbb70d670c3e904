package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is a SHA-256. The digest of a bundle is that of its manifest's payload
// bytes, the digest of a pack that of its index, and a blob is named by its own.
// The zero Digest means "nothing".
type Digest [sha256.Size]byte

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest reads 64 lower-case hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	return d, d.UnmarshalText([]byte(s))
}

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns 64 hexadecimal digits, or "" for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// Short returns the first 12 digits, for people; no program should read it back.
func (d Digest) Short() string {
	if d.IsZero() {
		return "none"
	}
	return hex.EncodeToString(d[:6])
}

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. There is one spelling of a
// digest: upper case is refused, the empty text is the zero Digest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	if len(text) != 2*sha256.Size {
		return fmt.Errorf("digest has %d characters, want %d hexadecimal digits", len(text), 2*sha256.Size)
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("digest holds %q, want lower-case hexadecimal digits", c)
		}
	}
	_, err := hex.Decode(d[:], text)
	return err
}
