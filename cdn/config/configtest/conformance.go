package configtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// Token is what the account of a Place is to be reached with. It must appear nowhere.
const Token = "c0nfigtest-canary-token"

// Place is a target in use, for [Run] to let releases go through.
type Place struct {
	// New returns another client of the same target.
	New    func(t *testing.T) config.Target
	Remote *Remote
	// Holds tells everything there that a release or somebody else decides, as text; what
	// the provider makes up, like ids and numbers of versions, is left out.
	Holds func() string
	// Meddle makes somebody else change something that release Second decides, Neighbour
	// something that no release does.
	Meddle, Neighbour func()
	// Files of two releases, and of one that the provider or the target refuses, naming
	// Why.
	First, Second, Bad map[string]string
	Why                string
}

// Run makes sure that a target does what config.Target demands. make returns the same
// place each time, in use by somebody already, on a remote end of its own.
func Run(t *testing.T, make func(t *testing.T) Place) {
	keeps := []bool{false}
	if make(t).New(t).Limits().Keeps {
		keeps = append(keeps, true)
	}
	for _, keep := range keeps {
		name := "whole"
		if keep {
			name = "keep"
		}
		t.Run(name, func(t *testing.T) {
			s := suite{make: make, keep: keep}
			t.Run("there and back", s.thereAndBack)
			t.Run("refuses", s.refuses)
			t.Run("every call fails once", s.failures)
			t.Run("killed at every call", s.kills)
			t.Run("stopped half way", s.stopped)
			t.Run("others change it", s.meddled)
			t.Run("no answer is no change", s.outage)
			t.Run("tokens appear nowhere", s.tokens)
		})
	}
}

type suite struct {
	make func(t *testing.T) Place
	keep bool
}

// stay is a keeper at its place.
type stay struct {
	Place
	t       *testing.T
	dir     string
	keep    bool
	backoff time.Duration
	*config.Keeper
}

func (s suite) begin(t *testing.T) *stay {
	t.Helper()
	y := &stay{Place: s.make(t), t: t, dir: t.TempDir(), keep: s.keep, backoff: time.Millisecond}
	y.again()
	return y
}

// narrow is a target that takes two items in a call, so that a small release has
// several batches.
type narrow struct{ config.Target }

func (n narrow) Limits() config.Limits {
	l := n.Target.Limits()
	if l.Batch > 0 {
		l.Batch = 3 // the mark comes on top
	}
	return l
}

// again makes a new keeper from what is on disk, as after a crash.
func (y *stay) again() {
	y.t.Helper()
	k, err := config.NewKeeper(config.KeeperConfig{
		Target: narrow{y.New(y.t)}, Dir: y.dir, Keep: y.keep, Settle: time.Nanosecond, Timeout: 5 * time.Second, Backoff: y.backoff, Every: time.Nanosecond,
	})
	if err != nil {
		y.t.Fatal(err)
	}
	y.Keeper = k
}

func (y *stay) first() config.Release  { return Release("1.0.0-0123456789ab", y.First) }
func (y *stay) second() config.Release { return Release("2.0.0-0123456789ab", y.Second) }

// put activates and confirms.
func (y *stay) put(r config.Release) string {
	y.t.Helper()
	if err := y.Activate(y.t.Context(), r); err != nil {
		y.t.Fatal(err)
	}
	evidence, err := y.Confirm(y.t.Context(), r)
	if err != nil {
		y.t.Fatal(err)
	}
	if !strings.Contains(evidence, r.Content) {
		y.t.Errorf("the evidence %q does not name the release", evidence)
	}
	return y.Holds()
}

// route is what the place holds on the way: as found, with each release.
func (s suite) route(t *testing.T) (found, first, second string) {
	t.Helper()
	y := s.begin(t)
	return y.Holds(), y.put(y.first()), y.put(y.second())
}

func (s suite) thereAndBack(t *testing.T) {
	found, first, second := s.route(t)
	if found == first || first == second || found == second {
		t.Fatalf("the place does not tell releases apart:\n%s\n%s\n%s", found, first, second)
	}
	y := s.begin(t)
	if err := y.Validate(t.Context(), y.first()); err != nil {
		t.Fatal(err)
	}
	if y.Holds() != found {
		t.Errorf("a validation has changed what serves:\n%s", y.Holds())
	}
	if _, err := y.Confirm(t.Context(), y.first()); err == nil {
		t.Error("what was never activated is confirmed")
	}
	y.put(y.first())
	if _, err := y.Confirm(t.Context(), y.second()); err == nil {
		t.Error("another release is confirmed")
	}
	y.put(y.second())
	before := len(y.Remote.Calls())
	if got := y.put(y.second()); got != second {
		t.Errorf("the same again is not the same:\n%s", got)
	}
	for _, call := range y.Remote.Calls()[before:] {
		if !strings.HasPrefix(call, "GET ") && !strings.HasSuffix(call, "/bulk/get") {
			t.Errorf("the same again has made the call %s", call)
		}
	}
	if got := y.put(y.first()); got != first {
		t.Errorf("went back to\n%s\nwant\n%s", got, first)
	}
	if err := y.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := y.Holds(); got != found {
		t.Errorf("restored\n%s\nwant\n%s", got, found)
	}
	if _, err := os.Stat(filepath.Join(y.dir, "before.json")); err == nil {
		t.Error("the record is still there")
	}
}

func (s suite) refuses(t *testing.T) {
	y := s.begin(t)
	held := y.put(y.first())
	bad := Release("3.0.0-0123456789ab", y.Bad)
	for what, do := range map[string]func(context.Context, config.Release) error{"validated": y.Validate, "activated": y.Activate} {
		err := do(t.Context(), bad)
		if err == nil || !strings.Contains(err.Error(), y.Why) || config.Passing(err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("a bad release is %s: %v, want %q", what, err, y.Why)
		}
		if y.Holds() != held {
			t.Errorf("a bad release that was %s has changed what serves:\n%s", what, y.Holds())
		}
	}
}

// calls yields the numbers of the calls that the way from the first release to the
// second takes; with -short, some of them.
func (s suite) calls(t *testing.T) (numbers []int) {
	y := s.begin(t)
	y.put(y.first())
	before := len(y.Remote.Calls())
	if err := y.Activate(t.Context(), y.second()); err != nil {
		t.Fatal(err)
	}
	step := 1
	if testing.Short() {
		step = 4
	}
	for n := 1; n <= len(y.Remote.Calls())-before; n += step {
		numbers = append(numbers, n)
	}
	return numbers
}

// failures: whichever call is not answered, refused for now or lost, the release
// arrives.
func (s suite) failures(t *testing.T) {
	_, _, second := s.route(t)
	for _, n := range s.calls(t) {
		for what, f := range map[string]Fault{
			"lost request": {LoseRequest: true}, "lost reply": {LoseReply: true},
			"503": {Status: http.StatusServiceUnavailable}, "429": {Status: http.StatusTooManyRequests, RetryAfter: "0"},
			"keys fail": {FailKeys: 1},
		} {
			y := s.begin(t)
			y.put(y.first())
			y.Remote.At(n, f)
			if err := y.Activate(t.Context(), y.second()); err != nil {
				t.Errorf("%s at call %d: %v", what, n, err)
			} else if got := y.Holds(); got != second {
				t.Errorf("%s at call %d:\n%s\nwant\n%s", what, n, got, second)
			}
		}
	}
}

// kills ends the process before and after each call. Then it finishes, goes back, or,
// in the middle of the first release, puts back what was there.
func (s suite) kills(t *testing.T) {
	found, first, second := s.route(t)
	for _, n := range s.calls(t) {
		for _, after := range []bool{false, true} {
			for _, want := range []string{found, first, second} {
				y := s.begin(t)
				goal := y.first()
				if want != found {
					y.put(y.first())
					goal = y.second()
				}
				ctx, cancel := context.WithCancel(t.Context())
				y.Remote.At(n, Fault{LoseRequest: !after, LoseReply: after, Then: cancel})
				_ = y.Activate(ctx, goal) // it did not live to see
				cancel()
				y.again()
				var err error
				switch want {
				case found:
					err = y.Restore(t.Context())
				case first:
					err = y.Activate(t.Context(), y.first())
				case second:
					err = y.Activate(t.Context(), y.second())
				}
				if err != nil {
					t.Errorf("killed at call %d, after it %v: %v", n, after, err)
				} else if got := y.Holds(); got != want {
					t.Errorf("killed at call %d, after it %v:\n%s\nwant\n%s", n, after, got, want)
				}
			}
		}
	}
}

// stopped: a call that is refused for good ends the activation, and the way back works.
func (s suite) stopped(t *testing.T) {
	_, first, _ := s.route(t)
	for _, n := range s.calls(t) {
		y := s.begin(t)
		y.put(y.first())
		y.Remote.At(n, Fault{Status: http.StatusForbidden, Message: "the token was revoked"})
		err := y.Activate(t.Context(), y.second())
		if err == nil || config.Passing(err) || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("refused at call %d: %v", n, err)
		}
		if got := y.put(y.first()); got != first {
			t.Errorf("went back after call %d to\n%s\nwant\n%s", n, got, first)
		}
	}
}

func (s suite) meddled(t *testing.T) {
	y := s.begin(t)
	y.put(y.first())
	second := y.put(y.second())
	y.Meddle()
	if _, err := y.Confirm(t.Context(), y.second()); !errors.Is(err, config.ErrDiffers) {
		t.Errorf("somebody has changed it: %v", err)
	}
	if got := y.put(y.second()); got != second {
		t.Errorf("repaired to\n%s\nwant\n%s", got, second)
	}
	if y.Neighbour == nil || !y.keep {
		return
	}
	y.Neighbour()
	if _, err := y.Confirm(t.Context(), y.second()); err != nil {
		t.Errorf("what others own has changed: %v", err)
	}
	with := y.Holds()
	y.put(y.first())
	if got := y.put(y.second()); got != with {
		t.Errorf("what others own was not kept:\n%s\nwant\n%s", got, with)
	}
}

// outage: an API that does not answer says nothing of a release that was read back.
func (s suite) outage(t *testing.T) {
	y := s.begin(t)
	y.put(y.first())
	end := y.Remote.Outage(Fault{Status: http.StatusBadGateway})
	evidence, err := y.Confirm(t.Context(), y.first())
	if err != nil || !strings.HasSuffix(evidence, " ago") {
		t.Errorf("in an outage: %q, %v", evidence, err)
	}
	if _, err := y.Confirm(t.Context(), y.second()); err == nil || !config.Passing(err) {
		t.Errorf("in an outage, of a release that was never seen: %v", err)
	}
	y.again()
	if _, err := y.Confirm(t.Context(), y.first()); err == nil {
		t.Error("in an outage, of a release that this process never saw: confirmed")
	}
	end()
	if _, err := y.Confirm(t.Context(), y.first()); err != nil {
		t.Error(err)
	}
}

// tokens: a remote end that repeats what it was sent gets no token into an error or the
// record.
func (s suite) tokens(t *testing.T) {
	for _, status := range []int{400, 401, 404, 409, 500} {
		y := s.begin(t)
		if err := y.Activate(t.Context(), y.first()); err != nil {
			t.Fatal(err)
		}
		end := y.Remote.Outage(Fault{Status: status, Message: "bad token " + Token})
		var said []string
		y.backoff = time.Minute // longer than the timeout: each step says what failed first
		y.again()
		for what, do := range map[string]func() error{
			"activated": func() error { return y.Activate(t.Context(), y.second()) },
			"validated": func() error { return y.Validate(t.Context(), y.second()) },
			"confirmed": func() error { _, err := y.Confirm(t.Context(), y.second()); return err },
			"restored":  func() error { return y.Restore(t.Context()) },
		} {
			err := do()
			if err == nil || !strings.Contains(err.Error(), "bad token") {
				t.Errorf("with status %d it is %s: %v", status, what, err)
			}
			said = append(said, fmt.Sprintf("%v %+v %#v", err, err, err))
		}
		end()
		record, err := os.ReadFile(filepath.Join(y.dir, "before.json"))
		if err != nil {
			t.Error(err)
		}
		if all := strings.Join(said, "\n") + string(record); strings.Contains(all, Token) || strings.Contains(fmt.Sprint(y.Remote.Calls()), Token) {
			t.Errorf("the token is in\n%s", all)
		}
	}
}
