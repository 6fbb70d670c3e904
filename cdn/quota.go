package cdn

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// A Limiter holds the token buckets of one account. A Purger creates one from
// its own capabilities and calls Wait before each request.
type Limiter struct {
	caps    Capabilities
	buckets map[string]*rate.Limiter // name → bucket
}

// NewLimiter returns full buckets for the quotas in caps.
func NewLimiter(caps Capabilities) *Limiter {
	l := &Limiter{caps: caps, buckets: map[string]*rate.Limiter{}}
	for name, q := range caps.Buckets {
		l.buckets[name] = rate.NewLimiter(rate.Limit(q.PerSecond), q.Burst)
	}
	return l
}

// Wait returns when a request of n selectors of this kind may be sent. If ctx
// ends first, or has a deadline before that, nothing is taken and the error is
// an *Error of class RateLimited.
func (l *Limiter) Wait(ctx context.Context, provider string, kind Kind, n int) error {
	bucket := l.caps.Kinds[kind].Bucket
	limiter, ok := l.buckets[bucket]
	if !ok {
		return nil
	}
	tokens := cost(l.caps.Buckets[bucket], n)
	reservation := limiter.ReserveN(time.Now(), tokens)
	delay := reservation.Delay()
	if delay == 0 {
		return nil
	}
	refused := &Error{Provider: provider, Class: RateLimited, RetryAfter: delay, Message: "own quota of " + bucket + " is used up"}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay {
		reservation.Cancel()
		return refused
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		reservation.Cancel()
		refused.Err = ctx.Err()
		return refused
	}
}

// cost is capped at the burst: a batch larger than the bucket would never be
// allowed, and it is the provider's batch limit that admits it.
func cost(q Quota, selectors int) int {
	if !q.PerSelector {
		return 1
	}
	return min(selectors, q.Burst)
}

// PredictDuration says how long sending takes under the quotas with full
// buckets, when counts of selectors per kind are purged. It does not count the
// network, nor other users of the account.
func PredictDuration(caps Capabilities, counts map[Kind]int) time.Duration {
	tokens := map[string]int{}
	for kind, n := range counts {
		limits := caps.Kinds[kind]
		quota, ok := caps.Buckets[limits.Bucket]
		if !ok || n <= 0 {
			continue
		}
		if quota.PerSelector {
			tokens[limits.Bucket] += n
		} else {
			tokens[limits.Bucket] += (n + limits.Batch - 1) / limits.Batch
		}
	}
	var longest time.Duration
	for bucket, n := range tokens {
		quota := caps.Buckets[bucket]
		wait := float64(max(0, n-quota.Burst)) / quota.PerSecond
		longest = max(longest, time.Duration(wait*float64(time.Second)))
	}
	return longest
}
