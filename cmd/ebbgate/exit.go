package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ebbgate/ebbgate/controller/api"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRolledBack  = 3
	exitAuth        = 4
	exitTimeout     = 5
	exitChanges     = 6 // of plan --detailed-exitcode
	exitInterrupted = 130
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitError is an end with a code of its own. A nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// exit prints err on one line and returns the exit code that it stands for.
func (c *cli) exit(err error) int {
	var usage *usageError
	var refused *api.Error
	var own *exitError
	code := exitFailure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		code = own.code
	case errors.Is(err, context.Canceled): // by a signal, or by the key of the live view
		fmt.Fprintln(c.err, "ebbgate: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		code = exitUsage
	case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden):
		code = exitAuth
	}
	if text := oneLine(err.Error()); text != "" {
		fmt.Fprintln(c.err, "ebbgate: "+text)
	}
	return code
}

// cannot says what was attempted, unless err says so already.
func cannot(err error, format string, args ...any) error {
	if err == nil || errors.Is(err, api.ErrUnreachable) || errors.Is(err, context.Canceled) || strings.HasPrefix(err.Error(), "cannot ") {
		return err
	}
	return fmt.Errorf("cannot "+format+": %w", append(args, err)...)
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
