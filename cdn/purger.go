package cdn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Purger is one account at one provider. An implementation promises:
//
//   - Purge validates the whole request with [Capabilities.Validate] before
//     anything is sent.
//   - Purge makes one attempt: no retries inside. The caller decides on time
//     and order of the next one.
//   - Purge returns when ctx ends or its own timeout passes, whichever comes
//     first, and then says Unknown unless nothing was sent.
//   - Every error is an *Error. With an error the Receipt may still hold
//     selectors: those were accepted, the others were not.
//   - A nil error means that the provider accepted every selector. It does not
//     mean that the caches have dropped the objects.
//   - Sending the same request again is harmless. Where the provider takes an
//     idempotency key it is made from Request.ID and the selectors: one
//     intention resent is one purge, and never taken for another one.
//   - Quotas are respected by waiting inside Purge, bounded by ctx: two
//     callers that share a Purger share its token bucket.
//   - No token appears in an error, a receipt, a log line or a URL, and no character
//     in a receipt that is not printable.
//   - All methods may be called concurrently.
//
// Package cdntest has the suite that checks this.
type Purger interface {
	// Name is unique among the purgers of one outbox, in [a-z0-9-].
	Name() string
	// Capabilities never changes during the life of the Purger.
	Capabilities() Capabilities
	Purge(ctx context.Context, request Request) (Receipt, error)
}

// A Fencer is a Purger whose caches can refuse to store responses that are
// older than a generation. Raise the fence before the purge: a response that
// was on its way during the purge is then not kept.
type Fencer interface {
	// Fence returns when every cache of the scope refuses responses of region,
	// the name before the epoch in their generation, below epoch; where a change takes time to spread, it waits that long,
	// bounded by ctx. A fence is never lowered, and raising it again is
	// harmless. Errors are *Error; one that wraps ErrNoFence means that this
	// scope was configured without.
	Fence(ctx context.Context, scope, region string, epoch uint64) error
}

// ErrNoFence says that a scope has no fence to raise, although the Purger has
// for others.
var ErrNoFence = errors.New("no fence is configured")

// MaxEpoch is the highest epoch of a fence: 15 digits, which every VCL reads as
// an integer.
const MaxEpoch = 999_999_999_999_999

// maxFence is two names of 63 characters and the dot between them: a fence may be one
// app's in a region, "waf.eu-west".
const maxFence = 127

// ValidateFence checks what a fence is about. Only what passes may be sent.
func ValidateFence(scope, region string, epoch uint64) error {
	if err := ValidateScope(scope); err != nil {
		return fmt.Errorf("scope %w", err)
	}
	if _, _, err := ParseGen(fmt.Sprintf("%s-%d", region, epoch)); err != nil || len(region) > maxFence || strings.Trim(region, "-.") != region {
		return fmt.Errorf("region %.80q must be 1 to %d of [a-z0-9.-], no - or . at either end", region, maxFence)
	}
	if epoch > MaxEpoch {
		return fmt.Errorf("epoch %d is above %d", epoch, uint64(MaxEpoch))
	}
	return nil
}

// Request is one call to a provider.
type Request struct {
	Scope     string     // service id (Fastly), zone id (Cloudflare), distribution id (CloudFront), group of instances (Varnish, HTTP)
	Selectors []Selector // of one kind, within the limits of that kind
	Soft      bool       // mark stale instead of removing, where the kind can

	// ID names the intention: the same for a resend, another one for another
	// purge of the same selectors. Empty means that every call is meant anew.
	ID string
}

// Receipt is what a provider accepted.
type Receipt struct {
	// IDs has an entry for each accepted selector; the value is the provider's
	// purge id, empty where it gives none.
	IDs        map[Selector]string // selector → purge id
	AcceptedAt time.Time           // when the answer came

	skipped string // of a fence: why there was nothing to do
}

// Capabilities describes what a Purger can do. Kinds that are absent cannot
// be purged.
type Capabilities struct {
	Kinds     map[Kind]Limits  // kind → limits
	Buckets   map[string]Quota // name used in Limits.Bucket → quota shared by those kinds
	Spread    time.Duration    // until a fence that was raised stands everywhere; 0: at once, or none is configured
	KeyForbid string           // characters this provider reads as separators, besides space
}

// Limits of one kind.
type Limits struct {
	Batch  int           // selectors per request, at least 1
	Bytes  int           // sum of value lengths plus one each, per request; 0 means no limit
	Length int           // bytes of one value, where that is less than the common rule; 0 means no limit
	Soft   bool          // soft purge is possible
	Gap    time.Duration // the provider's advice for a second purge after this one; 0 means none
	Bucket string        // entry of Capabilities.Buckets; empty means no quota
}

// Quota is a token bucket.
type Quota struct {
	Burst       int
	PerSecond   float64
	PerSelector bool // a token pays for a selector, otherwise for a request
	PerScope    bool // each scope has a bucket of its own, otherwise the account has one
}

// Check says whether this provider can purge s. The error names the rule.
func (c Capabilities) Check(s Selector, soft bool) error {
	if err := s.Validate(); err != nil {
		return err
	}
	limits, ok := c.Kinds[s.Kind]
	if !ok {
		return fmt.Errorf("%w %.80q: the provider cannot purge by %s", ErrSelector, s, s.Kind)
	}
	if soft && !limits.Soft {
		return fmt.Errorf("%w %.80q: the provider has no soft purge by %s", ErrSelector, s, s.Kind)
	}
	if s.Kind == Key && strings.ContainsAny(s.Value, c.KeyForbid) {
		return fmt.Errorf("%w %.80q: key contains one of %q, which separates keys at this provider", ErrSelector, s, c.KeyForbid)
	}
	if limits.Length > 0 && len(s.Value) > limits.Length {
		return fmt.Errorf("%w %.80q: %s is %d bytes long, the provider takes %d", ErrSelector, s, s.Kind, len(s.Value), limits.Length)
	}
	if limits.Bytes > 0 && len(s.Value)+1 > limits.Bytes {
		return fmt.Errorf("%w %.80q: value is longer than the %d bytes of a request", ErrSelector, s, limits.Bytes-1)
	}
	return nil
}

// Validate checks a request. Only a request that passes may be sent.
func (c Capabilities) Validate(r Request) error {
	if err := ValidateScope(r.Scope); err != nil {
		return fmt.Errorf("request.scope %w", err)
	}
	if len(r.Selectors) == 0 {
		return fmt.Errorf("request.selectors is empty")
	}
	kind := r.Selectors[0].Kind
	size := 0
	for i, s := range r.Selectors {
		if err := c.Check(s, r.Soft); err != nil {
			return fmt.Errorf("request.selectors[%d]: %w", i, err)
		}
		if s.Kind != kind {
			return fmt.Errorf("request.selectors[%d]: kind %s in a request of kind %s", i, s.Kind, kind)
		}
		size += len(s.Value) + 1
	}
	limits := c.Kinds[kind]
	if len(r.Selectors) > limits.Batch {
		return fmt.Errorf("request.selectors has %d entries, the provider takes %d of kind %s", len(r.Selectors), limits.Batch, kind)
	}
	if limits.Bytes > 0 && size > limits.Bytes {
		return fmt.Errorf("request.selectors are %d bytes long, the provider takes %d of kind %s", size, limits.Bytes, kind)
	}
	return nil
}

// foreign reports whether a name must not have r.
func foreign(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// ValidateScope keeps a scope from changing the path of an API call: the
// Cloudflare library puts it there unescaped. The error begins with the scope, quoted.
func ValidateScope(scope string) error {
	if scope == "" || len(scope) > 64 || strings.ContainsFunc(scope, foreign) {
		return fmt.Errorf("%.80q must be 1 to 64 letters, digits, - or _", scope)
	}
	return nil
}
