package wire

import (
	"errors"
	"fmt"
)

// The ways a message can be refused. All are wrapped with the document, the field
// and the reason; inspect them with [errors.Is].
var (
	ErrInvalid   = errors.New("invalid document")
	ErrTooLarge  = errors.New("document too large")
	ErrSignature = errors.New("signature not accepted")
	ErrExpired   = errors.New("document expired")
	ErrReplay    = errors.New("document replayed")
	ErrFloor     = errors.New("version below the floor")

	// Of a bus.
	ErrNotFound     = errors.New("not found")
	ErrFenced       = errors.New("no longer the leader") // a write under an old lease was refused
	ErrNoLease      = errors.New("another controller holds the lease")
	ErrDisconnected = errors.New("not connected")
)

// FieldError says which field of which document was refused and why.
type FieldError struct {
	Doc    string // "manifest", "desired", …
	Field  string // path in the document: "files[3].path"
	Reason string
}

func (e *FieldError) Error() string { return e.Doc + ": " + e.Field + ": " + e.Reason }

// Unwrap makes every FieldError an [ErrInvalid].
func (e *FieldError) Unwrap() error { return ErrInvalid }

// checker collects the first refusal of a document.
type checker struct {
	doc string
	err error
}

func (c *checker) fail(field, format string, args ...any) {
	if c.err == nil {
		c.err = &FieldError{c.doc, field, fmt.Sprintf(format, args...)}
	}
}

func (c *checker) that(ok bool, field, format string, args ...any) {
	if !ok {
		c.fail(field, format, args...)
	}
}

// ascending checks a list of agents.
func (c *checker) ascending(field string, ids []AgentID) {
	for i, id := range ids {
		at := fmt.Sprintf("%s[%d]", field, i)
		c.token(at, string(id))
		c.that(i == 0 || ids[i-1] < id, at, "%q is not after the one before it", id)
	}
}

func (c *checker) token(field, s string) {
	if err := CheckToken(s); err != nil {
		c.fail(field, "%v", err)
	}
}
