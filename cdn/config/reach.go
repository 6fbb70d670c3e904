package config

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
)

const (
	validateTime = 30 * time.Second // until a validation that gets no answer is not repeated
	mostBackoff  = 30 * time.Second
)

// reach brings the target to the goal: read, plan, record, write, until what is read
// is what is wanted. Then it waits until that is everywhere. An error before the first
// write is [Untouched].
func (k *Keeper) reach(ctx context.Context, g goal) error {
	k.proof = proof{}
	refused, touched := false, k.before != nil && k.before.Moving
	limit := k.timeout + k.target.Limits().Hold
	err := k.retry(ctx, limit, limit, func(ctx context.Context) (bool, error) {
		done, err := k.step(ctx, g, &touched)
		// Somebody else may have changed what the plan was made for, which looks like a bad
		// call. The next plan knows; if that is refused too, it is us.
		if !refused && stale(err) {
			refused, err = true, again{error: err}
		}
		return done, err
	})
	if err != nil && !touched {
		return untouched{err}
	}
	if err != nil || k.before == nil || !k.before.Moving {
		return err
	}
	if !sleep(ctx, k.settle) {
		return ctx.Err()
	}
	settled := *k.before
	settled.Moving = false
	return k.remember(&settled)
}

// again marks what another round may get past.
type again struct {
	error
	written bool // all was written, and most often it shows at once
}

func (a again) Unwrap() error { return a.error }

// stale reports whether err may come from a plan that was overtaken.
func stale(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Op == "change" && (e.Err.Class == cdn.Refused || e.Err.Class == cdn.NotFound) && !errors.Is(err, ErrTrial)
}

// step makes one round, and reports whether there was nothing to do. It sets touched
// before it writes.
func (k *Keeper) step(ctx context.Context, g goal, touched *bool) (bool, error) {
	have, err := k.target.Read(ctx, g.keys)
	if err != nil {
		return false, err
	}
	want := g.want(have)
	why := difference(k.target, have, want)
	if why == "" {
		return true, nil
	}
	if want, err = k.target.Stage(ctx, want, g.content); err != nil {
		return false, err
	}
	changes := plan(k.target, have, want)
	if err := k.spare(have, changes); err != nil {
		return false, err
	}
	if err := k.record(have, want); err != nil {
		return false, err
	}
	k.log.Info("changing", "target", k.target.Name(), "release", want.Release, "changes", len(changes), "why", why)
	*touched = true
	parts := batches(k.target.Limits(), changes)
	for i, part := range parts {
		b := Batch{Changes: part, Last: i == len(parts)-1, Have: have, Want: want, Content: g.content, Check: g.check}
		if err := k.target.Write(ctx, b); err != nil {
			return false, err
		}
	}
	return false, again{fmt.Errorf("%s does not show what was written", k.target.Name()), true}
}

// retry repeats try until it is done, fails for good, or the limit is over. The limit
// bounds the calls, each of which has a timeout of its own as well. After repeat no other
// try begins.
func (k *Keeper) retry(ctx context.Context, limit, repeat time.Duration, try func(context.Context) (done bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	end := time.Now().Add(repeat)
	wait, wrote := k.backoff, false
	var last error
	for {
		done, err := try(limited)
		if done {
			return nil
		}
		anew, ok := errors.AsType[again](err)
		if wrote = ok && anew.written && !wrote; wrote {
			continue
		}
		if ok {
			err = anew.error
		} else if !Passing(err) {
			return err
		}
		if limited.Err() == nil || last == nil {
			last = err // not what the end of the limit made of it
		}
		pause := wait
		if e, ok := errors.AsType[*cdn.Error](err); ok {
			pause = max(pause, e.RetryAfter)
		}
		if time.Until(end) < pause || !sleep(limited, pause) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if limited.Err() == nil {
				limit = repeat
			}
			return fmt.Errorf("given up within %s: %w", limit, last)
		}
		k.log.Warn("trying again", "target", k.target.Name(), "after", pause, "err", err)
		wait = min(2*wait, mostBackoff)
	}
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
