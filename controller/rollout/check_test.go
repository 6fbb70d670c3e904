package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func running(t *testing.T) *fleet {
	f := newFleet(t)
	f.enrol("eu", "eu-1", "eu-2")
	if err := f.command([]string{"given", "1.0"}, ""); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStartOnMovedBase(t *testing.T) {
	f := running(t)
	index := f.s.Revision
	start := Start{Now: f.now, ID: "r1", Seed: "s", Target: bundle("2.0"), Plan: DefaultPlan([]wire.Region{"eu"}), CheckIndex: &index}
	if err := Check(f.s, start); err != nil {
		t.Fatal(err)
	}
	f.enrol("eu", "eu-3") // its late activation is purged: the record moves
	f.run(20 * time.Second)
	if err := Check(f.s, start); !errors.Is(err, ErrMoved) {
		t.Errorf("got %v, want %v", err, ErrMoved)
	}
	if after, effects := Step(f.s, start); after.Revision != f.s.Revision || len(effects) > 0 {
		t.Errorf("Step took a start that Check refuses: %v", effects)
	}
}

// What holds a rollout now is told after its decisions, however old these are, and as long as it
// holds alone.
func TestExplainTellsWhatHolds(t *testing.T) {
	f := running(t)
	now := func(what string, want ...string) {
		t.Helper()
		got := slices.DeleteFunc(Explain(f.s), func(line string) bool { return !strings.HasPrefix(line, "now: ") })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	p := DefaultPlan([]wire.Region{"eu"})
	p.OnFailure, p.Deadline = HoldOnly, wire.Duration(time.Minute)
	p.Gates = []Gate{{Name: "errors", Prometheus: "main", Query: "q", Max: new(float64), Interval: wire.Duration(15 * time.Second), Failures: 1}}
	f.sources["errors"] = Measured{Error: "refused"}
	f.feed(Start{Now: f.now, ID: "r1", By: "kim", Seed: "r1", Target: bundle("2.0"), Plan: p})
	now("it begins")
	for range 600 {
		if f.s.Regions["eu"].Hold != nil {
			break
		}
		f.run(time.Second)
	}
	since, why := f.now, "gate errors: prometheus main gives no answer: refused"
	at := func(d time.Duration) string { return since.Add(d).Format(time.RFC3339) }
	now("a gate has no data", fmt.Sprintf("now: eu holds (gate) since %s, until %s: %s", at(0), at(time.Minute), why))
	f.run(time.Hour)
	now("an hour later", fmt.Sprintf("now: eu holds (gate) since %s, overdue since %s: %s", at(0), at(time.Minute), why))
	high := 1.0
	f.sources["errors"] = Measured{Cohort: Sample{Value: &high}}
	f.run(time.Minute)
	now("it has failed", "now: the rollout holds (operator) since 2026-11-23T13:02:18Z, until 2026-11-23T13:03:18Z: gate errors of eu: 1 is above the limit of 0")
	f.feed(Abort{Now: f.now, By: "kim"})
	f.run(time.Minute)
	now("it is over")
}

// What a region served of the bundle that its purge leaves is named by epoch, but for an epoch
// that somebody says was another bundle's.
func TestPurgeNamesTheSame(t *testing.T) {
	good, bad := bundle("1.0").Digest, bundle("2.0").Digest
	rr := RegionRecord{
		Purge:  &PurgeRecord{Epoch: 10, Round: 1, To: good, From: []Served{{bad, 9}, {bad, 6}}},
		Served: []Served{{good, 8}, {good, 4}, {bad, 9}, {good, 9}, {good, 6}, {good, 10}, {good, 12}},
	}
	if got, want := purgeOf("edge", "eu", rr).Same, []wire.Epoch{4, 8}; !slices.Equal(got, want) {
		t.Errorf("the same at %v, want %v", got, want)
	}
}

// An agent that reports contents nobody ordered must not make the controller forget which
// contents its region may serve.
func TestReportsCannotFloodServed(t *testing.T) {
	f := running(t)
	ordered := Served{bundle("1.0").Digest, 1}
	for i := range 200 {
		lie := wire.AppReport{Running: &wire.Running{Epoch: 1, Digest: wire.DigestOf(fmt.Append(nil, i)), Version: "9", State: wire.StateActive}}
		f.feed(Reported{Now: f.now, Region: "eu", Agent: "eu-1", Stored: f.now, Incarnation: 2, Sequence: uint64(i + 1), Report: lie})
	}
	served := f.s.Regions["eu"].Served
	if len(served) > maxServed || !slices.Contains(served, ordered) {
		t.Errorf("%d contents remembered, the ordered one among them: %v", len(served), slices.Contains(served, ordered))
	}
}

// An agent that is heard of again has the whole deadline, also if it says first that it has
// what is wanted and then that it has not.
func TestHeardOfAgain(t *testing.T) {
	f := running(t)
	r, n := f.find("eu-1")
	n.silent = true
	f.run(time.Minute)
	p := DefaultPlan([]wire.Region{r})
	deadline := 30 * time.Second
	p.Deadline, p.MaxUnreachable = wire.Duration(deadline), Count(1) // no hold ends when it is back
	f.feed(Start{Now: f.now, ID: "r1", By: "kim", Seed: "r1", Target: bundle("2.0"), Plan: p})
	f.feed(Pause{Now: f.now, By: "kim"})
	f.run(3 * time.Minute)
	says := func(next *wire.Progress) RolloutStatus {
		n.app.Next = next
		f.report(r, n)
		return f.s.Rollout.Status
	}
	epoch := f.s.Regions[r].Next.Epoch
	if got := says(&wire.Progress{Epoch: epoch, Digest: bundle("2.0").Digest, Version: "2.0", State: wire.StateStaged}); got != StatusPaused {
		t.Errorf("it has staged, and the rollout is %s", got)
	}
	f.now = f.now.Add(5 * time.Second)
	if got := says(nil); got != StatusPaused {
		t.Errorf("it has been heard of for 5s, and the rollout is %s", got)
	}
	for end := f.now.Add(deadline); f.now.Before(end); {
		f.now = f.now.Add(5 * time.Second)
		says(nil)
	}
	if got := f.s.Rollout.Status; got != StatusReverted {
		t.Errorf("it has not staged within the deadline, and the rollout is %s", got)
	}
}
