package apihttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/oneline"
)

// maxRetryAfter caps what a provider may ask for: a bad header must not hold a
// rollout for a day.
const maxRetryAfter = 5 * time.Minute

// Call is one request to a provider, for telling what became of it.
type Call struct {
	Provider string   // Purger.Name
	Scope    string   // as in cdn.Request
	Instance string   // base URL, where a scope has several
	Secrets  []string // removed from whatever is said; empty ones are skipped
	Answer   *Answer
}

// Said is what the body of an answer says. Both may be empty.
type Said struct {
	Message string
	Class   cdn.Class // what the provider's own code means; it overrides the status
}

// Failure turns the outcome of the call into an error. Where the provider said
// nothing, err speaks.
func (c Call) Failure(err error, said Said) *cdn.Error {
	e := &cdn.Error{Provider: c.Provider, Status: c.Answer.Status, Class: said.Class}
	if e.Class == "" {
		e.Class = classify(c.Answer, err)
	}
	if e.Class == cdn.RateLimited || e.Status == http.StatusServiceUnavailable {
		e.RetryAfter = retryAfter(c.Answer.Header, time.Now())
	}
	message := said.Message
	switch {
	case message != "":
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		message = "no answer in time, it may have been done"
		if c.Instance != "" { // other errors of a connection name it
			message = c.Instance + ": " + message
		}
	case err != nil:
		message = err.Error()
	case e.Status != 0:
		message = cmp.Or(http.StatusText(e.Status), "no reason is given")
	}
	e.Message = Redact(message, c.Secrets...)
	switch e.Class {
	case cdn.Auth:
		e.Message = "the token is not accepted: " + e.Message
	case cdn.NotFound:
		e.Message = fmt.Sprintf("scope %s does not exist, or not for this token: %s", c.Scope, e.Message)
	}
	if errors.Is(err, context.Canceled) {
		e.Err = context.Canceled
	} else if errors.Is(err, context.DeadlineExceeded) {
		e.Err = context.DeadlineExceeded
	}
	return e
}

// Receipt is of the selectors in ids, accepted now. The ids are the provider's words, and
// kept: they are redacted like those of a failure.
func (c Call) Receipt(ids map[cdn.Selector]string) cdn.Receipt {
	for selector, id := range ids {
		ids[selector] = Redact(id, c.Secrets...)
	}
	return cdn.Receipt{IDs: ids, AcceptedAt: time.Now()}
}

func classify(answer *Answer, err error) cdn.Class {
	switch status := answer.Status; {
	case status == 0:
		// A connection that was never made carried no request.
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return cdn.Retryable
		}
		return cdn.Unknown
	case status == http.StatusTooManyRequests:
		return cdn.RateLimited
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return cdn.Auth
	case status == http.StatusNotFound:
		return cdn.NotFound
	case status == http.StatusRequestTimeout || status == http.StatusConflict || status == http.StatusTooEarly:
		return cdn.Retryable
	case status >= 500:
		return cdn.Retryable
	case status >= 300:
		return cdn.Refused
	}
	return cdn.Unknown
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// retryAfter reads Retry-After (RFC 9110, seconds or a date) and Fastly's
// reset time (Unix seconds), and caps the result.
func retryAfter(header http.Header, now time.Time) time.Duration {
	var wait time.Duration
	if text := header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
			wait = time.Duration(seconds) * time.Second
		} else if date, err := http.ParseTime(text); err == nil {
			wait = date.Sub(now)
		}
	} else if reset, err := strconv.ParseInt(header.Get("Fastly-RateLimit-Reset"), 10, 64); err == nil {
		wait = time.Unix(reset, 0).Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// Redact makes text from outside fit for a log line or a record: one line, printable,
// bounded, without the secrets.
func Redact(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return oneline.Clip(text)
}

// ValidToken reports a token that cannot be sent in a header.
func ValidToken(token string) error {
	if token == "" {
		return errors.New("token is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("token has a character that is not printable ASCII (a trailing newline?)")
	}
	return nil
}
