package config

import (
	"context"
	"errors"
	"fmt"

	"github.com/ebbgate/ebbgate/cdn"
)

// Error is what calls to a provider fail with. It never contains a token, and no
// value of an item. cdn.ClassOf tells what may be done about it.
type Error struct {
	Op     string // "read", "stage", "change"
	Target string // Target.Name
	Err    *cdn.Error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("cannot %s %s: %s", e.Op, e.Target, e.Err.Message)
	if e.Err.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Err.Status)
	}
	if e.Err.RetryAfter > 0 {
		text += fmt.Sprintf(" (retry after %s)", e.Err.RetryAfter)
	}
	return text + " [" + string(e.Err.Class) + "]"
}

func (e *Error) Unwrap() error { return e.Err }

// ErrTrial marks the failure of a part that served for a trial: repeating it would
// let it fail for users again.
var ErrTrial = errors.New("the trial failed")

// Passing reports whether err may be gone at another time without anybody doing
// anything: it says nothing about the release. A version that did not answer in its trial
// has failed.
func Passing(err error) bool {
	if errors.Is(err, ErrTrial) {
		return false
	}
	e, ok := errors.AsType[*cdn.Error](err)
	if ok {
		return !e.Class.Terminal()
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// untouched is a failure of [Keeper.Activate] before anything was sent that may have
// changed what serves.
type untouched struct{ error }

func (u untouched) Unwrap() error { return u.error }

// Untouched reports whether a failed activation has changed nothing that serves, nor left
// one of before unfinished.
func Untouched(err error) bool {
	_, ok := errors.AsType[untouched](err)
	return ok
}
