package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
)

// shelf is a target in memory.
type shelf struct {
	limits Limits
	state  State
	wrote  []string // keys of each batch
	reads  int
	fail   func(op string) error // may be nil
}

func newShelf(items map[string]string) *shelf {
	return &shelf{limits: Limits{Batch: 4, Settle: 30 * time.Second, Keeps: true}, state: State{Items: items}}
}

func (s *shelf) Name() string                   { return "shelf" }
func (s *shelf) Limits() Limits                 { return s.limits }
func (s *shelf) Same(_, have, want string) bool { return have == want }
func (s *shelf) Load(files fs.FS) (Content, error) {
	c := Content{Items: map[string]string{}}
	names, err := fs.Glob(files, "*")
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return c, err
		}
		c.Items[name] = string(data)
	}
	return c, err
}

func (s *shelf) failure(op string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(op)
}

func (s *shelf) Read(context.Context, []string) (State, error) {
	s.reads++
	held := s.state
	held.Items = maps.Clone(held.Items)
	return held, s.failure("read")
}

func (s *shelf) Stage(_ context.Context, want State, _ Content) (State, error) {
	return want, s.failure("stage")
}

func (s *shelf) Write(_ context.Context, b Batch) error {
	if err := s.failure("change"); err != nil {
		return err
	}
	var keys []string
	for _, c := range b.Changes {
		if keys = append(keys, c.Key); c.Delete {
			delete(s.state.Items, c.Key)
		} else {
			s.state.Items[c.Key] = c.Value
		}
	}
	if b.Last {
		s.state.Release = b.Want.Release
		keys = append(keys, "mark")
	}
	s.wrote = append(s.wrote, strings.Join(keys, " "))
	return nil
}

func trouble(class cdn.Class) error {
	return &Error{Op: "change", Target: "shelf", Err: &cdn.Error{Class: class, Message: "trouble"}}
}

func release(id string, items map[string]string) Release {
	files := fstest.MapFS{}
	for key, value := range items {
		files[key] = &fstest.MapFile{Data: []byte(value)}
	}
	return Release{ID: id, Content: id, Files: files}
}

func keep(t *testing.T, s Target, c KeeperConfig) *Keeper {
	t.Helper()
	c.Target = s
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	k, err := NewKeeper(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBatches(t *testing.T) {
	s := newShelf(map[string]string{"old1": "", "old2": "", "b": "x"})
	k := keep(t, s, KeeperConfig{Settle: 1})
	r := release("r1", map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"})
	if err := k.Activate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []string{"a b c", "d e old1", "old2 mark"}
	if diff := cmp.Diff(want, s.wrote); diff != "" {
		t.Errorf("batches: %s", diff)
	}
	if parts := batches(Limits{Batch: 100, Bytes: 10}, []Change{{Key: "a", Value: "12345678"}, {Key: "b", Value: "1"}, {Key: "c", Value: "1234567"}}); len(parts) != 2 || len(parts[1]) != 2 && len(parts[0]) != 1 {
		t.Errorf("batches by bytes: %v", parts)
	}
	if parts := batches(Limits{}, []Change{{Key: "a"}, {Key: "b"}}); len(parts) != 1 {
		t.Errorf("a target that changes as a whole got %d batches", len(parts))
	}
}

// Where old and new do not fit side by side, the old goes first.
func TestPlanWithinTheLimit(t *testing.T) {
	have := State{Items: map[string]string{"a": "1", "b": "1"}}
	want := State{Items: map[string]string{"b": "2", "c": "1"}}
	for most, first := range map[int]string{0: "b", 4: "b", 3: "a"} {
		s := newShelf(nil)
		s.limits.Items = most
		if got := plan(s, have, want); len(got) != 3 || got[0].Key != first {
			t.Errorf("with %d items at most: %v", most, got)
		}
	}
	s := newShelf(nil)
	s.limits.Items, have.Hidden = 4, 1
	if got := plan(s, have, want); got[0].Key != "a" {
		t.Errorf("beside one that is hidden: %v", got)
	}
}

func TestTooManyItems(t *testing.T) {
	s := newShelf(map[string]string{"theirs": "1"})
	s.limits.Items = 3
	r := release("r1", map[string]string{"a": "1", "b": "2"})
	if err := keep(t, s, KeeperConfig{}).Validate(t.Context(), r); err != nil {
		t.Errorf("as a whole: %v", err)
	}
	err := keep(t, s, KeeperConfig{Keep: true}).Validate(t.Context(), r)
	if err == nil || Passing(err) || !strings.Contains(err.Error(), "it would hold 4 items with the mark and what is kept, at most 3 fit") {
		t.Errorf("beside others: %v", err)
	}
}

// An item that a release takes over goes back to what it was with the release that
// does not name it, and belongs to others from then on.
func TestKeepGivesBack(t *testing.T) {
	s := newShelf(map[string]string{"taken": "theirs", "other": "theirs"})
	k := keep(t, s, KeeperConfig{Keep: true, Settle: 1})
	one, two := release("r1", map[string]string{"a": "1"}), release("r2", map[string]string{"a": "2", "taken": "ours", "new": "ours"})
	for _, step := range []struct {
		r    Release
		want map[string]string
	}{
		{one, map[string]string{"a": "1", "taken": "theirs", "other": "theirs"}},
		{two, map[string]string{"a": "2", "taken": "ours", "new": "ours", "other": "theirs"}},
		{one, map[string]string{"a": "1", "taken": "theirs", "other": "theirs"}},
	} {
		if err := k.Activate(t.Context(), step.r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, s.state.Items); diff != "" {
			t.Errorf("with %s: %s", step.r.ID, diff)
		}
	}
	s.state.Items["taken"] = "theirs, changed"
	if _, err := k.Confirm(t.Context(), one); err != nil {
		t.Errorf("others have changed what is theirs again: %v", err)
	}
}

// The record is on disk before the first call that it undoes, and nothing is sent
// without it.
func TestRecordComesFirst(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(map[string]string{"a": "theirs"})
	s.fail = func(op string) error {
		if op != "change" {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, beforeFile))
		if want := `{"target":"shelf","release":"","items":{"a":"theirs","b":null},"moving":true}`; err != nil || string(data) != want {
			t.Errorf("when the call is sent the record is %s, %v", data, err)
		}
		return nil
	}
	k := keep(t, s, KeeperConfig{Dir: dir, Settle: 1})
	if err := k.Activate(t.Context(), release("r1", map[string]string{"a": "1", "b": "2"})); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, beforeFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v %v", info, err)
	}

	blocked := t.TempDir()
	k = keep(t, s, KeeperConfig{Dir: blocked})
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	wrote := len(s.wrote)
	if err := k.Activate(t.Context(), release("r2", map[string]string{"a": "2"})); err == nil || Passing(err) || len(s.wrote) != wrote {
		t.Errorf("without a record %d batches were sent: %v", len(s.wrote)-wrote, err)
	}
}

func TestRecordOfAnotherTarget(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"is the record of dictionary 2, not of shelf": `{"target": "dictionary 2"}`,
		"unexpected end of JSON":                      `{"target": "sh`,
	} {
		if err := os.WriteFile(filepath.Join(dir, beforeFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewKeeper(KeeperConfig{Target: newShelf(nil), Dir: dir}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A change has its time to spread, also when the process died in the middle of it.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{})
		dir := t.TempDir()
		r := release("r1", map[string]string{"a": "1"})
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := keep(t, s, KeeperConfig{Dir: dir}).Activate(ctx, r); !errors.Is(err, context.DeadlineExceeded) || s.state.Items["a"] != "1" {
			t.Fatalf("ended while it spreads: %v", err)
		}
		k := keep(t, s, KeeperConfig{Dir: dir})
		if err := k.Activate(t.Context(), r); err != nil || time.Since(begin) != 40*time.Second {
			t.Errorf("after a crash: %v at %s, want 40s", err, time.Since(begin))
		}
		if err := k.Activate(t.Context(), r); err != nil || time.Since(begin) != 40*time.Second {
			t.Errorf("the same again: %v at %s", err, time.Since(begin))
		}
	})
}

func TestRepeats(t *testing.T) {
	limited := func(after time.Duration) error {
		return &Error{Op: "change", Target: "shelf", Err: &cdn.Error{Class: cdn.RateLimited, RetryAfter: after, Message: "slow down"}}
	}
	for name, test := range map[string]struct {
		failures []error
		took     time.Duration // without settling
		says     string        // "": succeeds
	}{
		"at once":          {nil, 0, ""},
		"backs off":        {[]error{trouble(cdn.Retryable), trouble(cdn.Unknown), trouble(cdn.Retryable)}, 7 * time.Second, ""},
		"as asked":         {[]error{limited(50 * time.Second)}, 50 * time.Second, ""},
		"too long":         {[]error{limited(4 * time.Minute)}, 0, "given up within 3m0s: cannot change shelf: slow down (retry after 4m0s) [rate-limited]"},
		"overtaken":        {[]error{trouble(cdn.Refused)}, time.Second, ""},
		"refused":          {[]error{trouble(cdn.Refused), trouble(cdn.Refused)}, time.Second, "cannot change shelf: trouble [refused]"},
		"revoked":          {[]error{trouble(cdn.Auth)}, 0, "[auth]"},
		"the trial failed": {[]error{fmt.Errorf("%w: 500", ErrTrial)}, 0, "the trial failed: 500"},
		"no answer in it":  {[]error{fmt.Errorf("%w: %w", ErrTrial, context.DeadlineExceeded)}, 0, "the trial failed: context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(map[string]string{})
				left := slices.Clone(test.failures)
				s.fail = func(op string) error {
					if op != "change" || len(left) == 0 {
						return nil
					}
					err := left[0]
					left = left[1:]
					return err
				}
				begin := time.Now()
				err := keep(t, s, KeeperConfig{Settle: 1}).Activate(t.Context(), release("r1", map[string]string{"a": "1"}))
				if took := time.Since(begin).Truncate(time.Millisecond); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
				if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("%v, want %q", err, test.says)
				}
			})
		})
	}
}

// A failure tells whether anything was sent that may have changed what serves.
func TestUntouched(t *testing.T) {
	for op, want := range map[string]bool{"read": true, "stage": true, "change": false} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(map[string]string{})
			s.fail = func(failing string) error {
				if failing == op {
					return trouble(cdn.Unknown)
				}
				return nil
			}
			k := keep(t, s, KeeperConfig{})
			r := release("r1", map[string]string{"a": "1"})
			if err := k.Activate(t.Context(), r); err == nil || !Passing(err) || Untouched(err) != want {
				t.Errorf("%s fails: %v, untouched is %v", op, err, Untouched(err))
			}
			s.fail = func(string) error { return trouble(cdn.Unknown) }
			if err := k.Activate(t.Context(), r); err == nil || Untouched(err) != want {
				t.Errorf("then no answer at all: %v, untouched is %v", err, Untouched(err))
			}
		})
	}
}

// slow takes its time to be read.
type slow struct {
	*shelf
	takes time.Duration
}

func (s *slow) Read(ctx context.Context, keys []string) (State, error) {
	if !sleep(ctx, s.takes) {
		return State{}, ctx.Err()
	}
	return s.shelf.Read(ctx, keys)
}

// A large target is validated however long it takes to read, within the timeout; a
// provider that does not answer is reported sooner.
func TestValidateTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{newShelf(map[string]string{}), 2 * time.Minute}
		r := release("r1", map[string]string{"a": "1"})
		if err := keep(t, s, KeeperConfig{}).Validate(t.Context(), r); err != nil {
			t.Error(err)
		}
		if err := keep(t, s, KeeperConfig{Timeout: time.Minute}).Validate(t.Context(), r); err == nil || !strings.HasPrefix(err.Error(), "given up within 1m0s: ") {
			t.Errorf("longer than the timeout: %v", err)
		}
		s.takes, s.fail = time.Second, func(string) error { return trouble(cdn.Unknown) }
		begin := time.Now()
		err := keep(t, s, KeeperConfig{}).Validate(t.Context(), r)
		if err == nil || !strings.HasPrefix(err.Error(), "given up within 30s: ") || time.Since(begin) > 30*time.Second {
			t.Errorf("no answer: %v after %s", err, time.Since(begin))
		}
	})
}

// A provider that says ok and does not do it is not believed, however often.
func TestNeverShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{})
		lying := &deaf{s}
		err := keep(t, lying, KeeperConfig{}).Activate(t.Context(), release("r1", map[string]string{"a": "1"}))
		if err == nil || !strings.Contains(err.Error(), "given up within 3m0s: shelf does not show what was written") {
			t.Error(err)
		}
		if s.reads < 5 || s.reads > 20 {
			t.Errorf("%d readings in 3 minutes", s.reads)
		}
	})
}

// deaf does nothing that it is told.
type deaf struct{ *shelf }

func (d *deaf) Write(context.Context, Batch) error { return nil }

func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{})
		k := keep(t, s, KeeperConfig{Settle: 1})
		r := release("r1", map[string]string{"a": "s3cret", "b": "2"})
		if err := k.Activate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		confirm := func() (string, error) { return k.Confirm(t.Context(), r) }
		before := s.reads
		for range 5 {
			if evidence, err := confirm(); err != nil || evidence != "shelf shows r1 and its 2 items" {
				t.Errorf("%q %v", evidence, err)
			}
		}
		if s.reads != before+1 {
			t.Errorf("%d readings within 10s", s.reads-before)
		}
		s.fail = func(string) error { return trouble(cdn.Retryable) }
		time.Sleep(time.Minute)
		if evidence, err := confirm(); err != nil || evidence != "shelf shows r1 and its 2 items, 1m0s ago" {
			t.Errorf("in an outage: %q %v", evidence, err)
		}
		time.Sleep(5 * time.Minute)
		if _, err := confirm(); err == nil {
			t.Error("an outage of more than five minutes is no proof")
		}
		s.fail = nil
		for what, change := range map[string]func(){
			`1 of its items are not as released, first "a", which differs`:         func() { s.state.Items["a"] = "other s3cret" },
			`1 of its items are not as released, first "a", which is missing`:      func() { delete(s.state.Items, "a") },
			`1 of its items are not as released, first "z", which does not belong`: func() { s.state.Items["z"] = "" },
			`it shows release "r0", want "r1"`:                                     func() { s.state.Release = "r0" },
		} {
			s.state = State{Release: "r1", Items: map[string]string{"a": "s3cret", "b": "2"}}
			change()
			if _, err := confirm(); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v, want %q", err, what)
			}
		}
	})
}

func TestKeeperConfig(t *testing.T) {
	whole := newShelf(nil)
	whole.limits.Keeps = false
	for says, c := range map[string]KeeperConfig{
		"target and dir are required":         {Target: whole},
		"keep: shelf can only be held as a":   {Target: whole, Dir: t.TempDir(), Keep: true},
		"settle is negative":                  {Target: whole, Dir: t.TempDir(), Settle: -1},
		"dir: mkdir /proc/ebbgate: no such f": {Target: whole, Dir: "/proc/ebbgate"},
	} {
		if _, err := NewKeeper(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
