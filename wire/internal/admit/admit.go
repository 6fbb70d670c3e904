// Package admit holds what every bus refuses before it touches the network, so that
// no implementation takes what another would not.
package admit

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/wire"
)

// MaxHolder bounds the name of a lease's holder.
const MaxHolder = 255

const maxKey = 255

// Size refuses an empty payload and one of more than most bytes.
func Size(data []byte, most int) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("%w: is empty", wire.ErrInvalid)
	case len(data) > most:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(data), most)
	}
	return nil
}

// Region refuses a region that is not a token: it could reach another subject.
func Region(r wire.Region) error {
	if err := wire.CheckToken(string(r)); err != nil {
		return fmt.Errorf("region %w", err)
	}
	return nil
}

// Digest refuses the digest of nothing.
func Digest(d wire.Digest) error {
	if d.IsZero() {
		return errors.New("digest is missing")
	}
	return nil
}

// Report refuses a report whose names are not tokens, or whose size is wrong.
func Report(r wire.Region, a wire.AgentID, envelope []byte) error {
	if _, _, err := wire.ParseStatusSubject(wire.StatusSubject(r, a)); err != nil {
		return err
	}
	return Size(envelope, wire.MaxReport)
}

// Key refuses a journal key that is not tokens joined by dots.
func Key(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("key is %d bytes long, at most %d are allowed", len(key), maxKey)
	}
	for token := range strings.SplitSeq(key, ".") {
		if err := wire.CheckToken(token); err != nil {
			return fmt.Errorf("key %w", err)
		}
	}
	return nil
}

// Holder refuses a name that a person cannot read.
func Holder(s string) error {
	switch {
	case s == "":
		return errors.New("holder is empty")
	case len(s) > MaxHolder:
		return fmt.Errorf("holder is %d bytes long, at most %d are allowed", len(s), MaxHolder)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("holder %q is not printable", s)
	}
	return nil
}
