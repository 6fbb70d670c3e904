package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
)

// KeeperConfig of a [Keeper].
type KeeperConfig struct {
	Target Target // required
	Dir    string // for the record of what was there before; made if absent; required
	// Keep leaves items alone that no release names. Default: what the release does not
	// name is deleted.
	Keep    bool
	Settle  time.Duration // default Limits.Settle
	Timeout time.Duration // of one validation, or one change with its repetitions, without Settle and Limits.Hold; default 3m
	Backoff time.Duration // before the second attempt, doubling up to 30s; default 1s
	// Every is the least time between two full readings of a target that Confirm found
	// well. Default 10s.
	Every  time.Duration
	Logger *slog.Logger // default: discard
}

// Keeper makes one target hold what releases want, and keeps what was there before.
// Its methods may be called by several goroutines; they run one after the other.
type Keeper struct {
	target  Target
	dir     string
	keep    bool
	settle  time.Duration
	timeout time.Duration
	backoff time.Duration
	every   time.Duration
	log     *slog.Logger

	mu     sync.Mutex // guards what follows, held for whole calls
	before *before    // as on disk; nil: the target was never changed
	proof  proof
}

// NewKeeper checks the configuration and reads the record; it sends nothing.
func NewKeeper(c KeeperConfig) (*Keeper, error) {
	if c.Target == nil || c.Dir == "" {
		return nil, errors.New("keeper config: target and dir are required")
	}
	l := c.Target.Limits()
	if c.Keep && !l.Keeps {
		return nil, fmt.Errorf("keeper config: keep: %s can only be held as a whole", c.Target.Name())
	}
	for field, d := range map[string]time.Duration{"settle": c.Settle, "timeout": c.Timeout, "backoff": c.Backoff, "every": c.Every} {
		if d < 0 {
			return nil, fmt.Errorf("keeper config: %s is negative", field)
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeper config: dir: %w", err)
	}
	k := &Keeper{
		target: c.Target, dir: c.Dir, keep: c.Keep, settle: either(c.Settle, l.Settle),
		timeout: either(c.Timeout, 3*time.Minute), backoff: either(c.Backoff, time.Second), every: either(c.Every, 10*time.Second),
		log: c.Logger,
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	var err error
	k.before, err = readBefore(k.dir, k.target.Name())
	return k, err
}

func either(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// goal is where a target is to get to.
type goal struct {
	content Content
	check   func(context.Context, http.Header) error
	keys    []string // Target.Read
	// want returns all that is to be there, of what is there now.
	want func(have State) State
}

func (k *Keeper) goal(r Release) (goal, error) {
	c, err := k.target.Load(r.Files)
	if err != nil {
		return goal{}, err
	}
	g := goal{content: c, check: r.Check, want: func(have State) State { return k.merge(have, c, r.shows(k.target.Limits())) }}
	if g.check == nil {
		g.check = func(context.Context, http.Header) error { return nil }
	}
	if k.keep {
		ours := maps.Clone(c.Items)
		if k.before != nil {
			for key := range k.before.Items {
				ours[key] = ""
			}
		}
		g.keys = keysOf(ours)
	}
	return g, nil
}

// keysOf is never nil, which would mean all keys to Target.Read.
func keysOf[V any](items map[string]V) []string {
	return append([]string{}, slices.Sorted(maps.Keys(items))...)
}

// merge returns what is to be there: what the release wants, and with Keep what it
// leaves to others, and what was there of items that a release had taken over and this
// one does not name.
func (k *Keeper) merge(have State, c Content, release string) State {
	want := State{Release: release, Items: maps.Clone(c.Items)}
	if !k.keep {
		return want
	}
	for key, value := range have.Items {
		_, named := c.Items[key]
		if named {
			continue
		}
		if k.before == nil {
			want.Items[key] = value
		} else if _, ours := k.before.Items[key]; !ours {
			want.Items[key] = value
		}
	}
	if k.before == nil {
		return want
	}
	for key, value := range k.before.Items {
		if _, named := c.Items[key]; !named && value != nil {
			want.Items[key] = *value
		}
	}
	return want
}

// Validate checks whether the target can take the release, and lets the provider say
// so where it can without serving it. It changes nothing that serves. Passing tells
// whether a failure is the release's.
func (k *Keeper) Validate(ctx context.Context, r Release) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, err := k.goal(r)
	if err != nil {
		return err
	}
	return k.retry(ctx, k.timeout, min(k.timeout, validateTime), func(ctx context.Context) (bool, error) {
		have, err := k.target.Read(ctx, g.keys)
		if err != nil {
			return false, err
		}
		want := g.want(have)
		all := len(want.Items) + have.Hidden + 1
		if most := k.target.Limits().Items; most > 0 && all > most {
			return false, &Error{Op: "stage", Target: k.target.Name(), Err: &cdn.Error{Class: cdn.Refused,
				Message: fmt.Sprintf("it would hold %d items with the mark and what is kept, at most %d fit", all, most)}}
		}
		if difference(k.target, have, want) == "" {
			return true, nil
		}
		if err := k.spare(have, plan(k.target, have, want)); err != nil {
			return false, err
		}
		_, err = k.target.Stage(ctx, want, g.content)
		return err == nil, err
	})
}

// Activate makes the target hold the release, and returns when that was read back and
// had its time to spread. It may be repeated, after a crash at any instant too, and
// going back is activating the older release. [Passing] tells whether a failure is the
// release's, [Untouched] whether all is as it was.
func (k *Keeper) Activate(ctx context.Context, r Release) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, err := k.goal(r)
	if err != nil {
		return err
	}
	if err := k.reach(ctx, g); err != nil {
		return err
	}
	return k.giveBack(g.content)
}

// giveBack forgets items that belong to others again.
func (k *Keeper) giveBack(c Content) error {
	if !k.keep || k.before == nil {
		return nil
	}
	left := *k.before
	left.Items = maps.Clone(left.Items)
	maps.DeleteFunc(left.Items, func(key string, _ *string) bool { _, named := c.Items[key]; return !named })
	if len(left.Items) == len(k.before.Items) {
		return nil
	}
	return k.remember(&left)
}

// Restore puts back what was there before the first release, and forgets it. Without
// a release nothing happens.
func (k *Keeper) Restore(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.before == nil {
		return nil
	}
	b := k.before
	g := goal{
		check: func(context.Context, http.Header) error { return nil },
		want: func(have State) State {
			want := State{Release: b.Release, Items: maps.Clone(have.Items)}
			for key, value := range b.Items {
				if delete(want.Items, key); value != nil {
					want.Items[key] = *value
				}
			}
			return want
		},
	}
	if k.keep {
		g.keys = keysOf(b.Items)
	}
	if err := k.reach(ctx, g); err != nil {
		return err
	}
	return k.remember(nil)
}
