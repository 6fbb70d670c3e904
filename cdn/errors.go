package cdn

import (
	"errors"
	"fmt"
	"time"
)

// Class says what a caller may do about a failed purge.
type Class string

const (
	// Retryable: not done, or done in part; the same request may succeed later.
	Retryable Class = "retryable"
	// RateLimited: not done; wait for RetryAfter.
	RateLimited Class = "rate-limited"
	// Refused: the request itself is wrong and will never be accepted.
	Refused Class = "refused"
	// Auth: the token is missing, wrong or lacks a permission.
	Auth Class = "auth"
	// NotFound: the scope does not exist, or not for this token.
	NotFound Class = "not-found"
	// Unknown: no usable answer came back; the purge may have been done and
	// must be sent again.
	Unknown Class = "unknown"
)

// Terminal reports whether repeating the request is pointless until a person
// has changed something.
func (c Class) Terminal() bool {
	switch c {
	case Refused, Auth, NotFound:
		return true
	case Retryable, RateLimited, Unknown:
		return false
	}
	panic("cdn: unknown class " + string(c))
}

// Error is the only error type a Purger returns. It never contains a token.
type Error struct {
	Provider   string        // Purger.Name
	Class      Class         // what to do about it
	Status     int           // HTTP status, 0 when there was no answer
	RetryAfter time.Duration // what the provider asked for, already capped; 0 when it did not ask
	Message    string        // for people
	Err        error         // cause, when it is useful to errors.Is; may be nil
}

func (e *Error) Error() string {
	text := fmt.Sprintf("cannot purge %s: %s", e.Provider, e.Message)
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(" (retry after %s)", e.RetryAfter)
	}
	return text + " [" + string(e.Class) + "]"
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the *Error in err's chain, and Unknown for any
// other error, because nothing is known about whether the purge was done.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Unknown
}
