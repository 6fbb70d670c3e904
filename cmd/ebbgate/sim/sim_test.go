package sim

import (
	"flag"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Int("seeds", 2000, "how many seeds")
	only      = flag.String("only", "", "no faults but these, with commas between; none: none")
	commands  = flag.Int("commands", math.MaxInt, "at most so many commands")
	agents    = flag.Int("agents", math.MaxInt, "at most so many agents")
	regions   = flag.Int("regions", math.MaxInt, "at most so many regions")
	lines     = flag.Int("lines", 60, "how many lines of the trace of a failure are shown")
	shrink    = flag.Bool("shrink", true, "look for a smaller history that fails, too")
)

func shape() Shape {
	s := Shape{Commands: *commands, Agents: *agents, Regions: *regions}
	switch *only {
	case "":
	case "none":
		s.Only = []string{}
	default:
		s.Only = strings.Split(*only, ",")
	}
	return s
}

// unknownFaults returns those names of a shape that no fault has.
func unknownFaults(s Shape) []string {
	return slices.DeleteFunc(slices.Clone(s.Only), func(name string) bool {
		return slices.ContainsFunc(allFaults, func(f fault) bool { return f.flag() == name })
	})
}

func TestUnknownFaults(t *testing.T) {
	s := Shape{Only: []string{faultWipe.flag(), "nosuchfault"}}
	if got := unknownFaults(s); !slices.Equal(got, []string{"nosuchfault"}) {
		t.Errorf("of %v unknown are %q", s.Only, got)
	}
}

// commit names the sources that are tested.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return "unknown: " + err.Error()
	}
	return strings.TrimSpace(string(out))
}

func TestSeeds(t *testing.T) {
	if unknown := unknownFaults(shape()); len(unknown) > 0 {
		t.Fatalf("-only: there is no fault %q", unknown)
	}
	began, told := time.Now(), time.Now()
	sweep := Play(*firstSeed, *seeds, shape(), func(done int) {
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			t.Logf("%d of %d seeds after %s", done, *seeds, time.Since(began).Round(time.Second))
		}
	})
	if bad := sweep.Bad; bad != nil {
		t.Errorf("seed %d: %v\ncommit %s", bad.Seed, bad.Err, commit())
		least := *bad
		if *shrink {
			least = Shrink(*bad)
		}
		t.Fatalf("the smallest that fails: %v\n%s\nof %d agents in %d regions after %d commands with %v\nreplay: make sim SEED=%d N=1 ARGS='%s'",
			least.Err, strings.Join(least.Trace[max(0, len(least.Trace)-*lines):], "\n"), least.Agents, least.Regions, least.Commands, least.Faults, least.Seed, least.Shape)
	}
	took := time.Since(began)
	t.Logf("%d seeds, %d events, %.0f events/s, %.0f seeds/s\n%s", sweep.Seeds, sweep.Events,
		float64(sweep.Events)/took.Seconds(), float64(sweep.Seeds)/took.Seconds(), table(sweep.Counts))
	if shape().String() == "" {
		for _, miss := range missed(sweep) {
			t.Error(miss)
		}
	}
}

// TestSameSeedSameHistory holds that a failure can be replayed, and its smaller forms.
func TestSameSeedSameHistory(t *testing.T) {
	hashes := make(map[uint64]bool)
	small := Shape{Only: []string{faultCrash.flag(), faultTail.flag(), faultPause.flag()}, Commands: 3, Agents: 4, Regions: 2}
	for _, s := range []Shape{Whole(), small} {
		for seed := uint64(1); seed <= 20; seed++ {
			a, b := Run(seed, s), Run(seed, s)
			if a.Hash != b.Hash || a.Events != b.Events {
				t.Errorf("seed %d %s: two histories: %x of %d events, %x of %d", seed, s, a.Hash, a.Events, b.Hash, b.Events)
			}
			hashes[a.Hash] = true
		}
	}
	if len(hashes) != 40 {
		t.Errorf("40 histories are %d", len(hashes))
	}
}

// table lists what was counted: faults by phase first, then the rest.
func table(counts map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%36s %9s", "", "total")
	for _, p := range phases {
		fmt.Fprintf(&b, " %10s", phaseName(p))
	}
	b.WriteByte('\n')
	rest := make(map[string]int)
	for what, n := range counts {
		if !strings.HasPrefix(what, "fault ") && !strings.Contains(what, " × ") {
			rest[what] = n
		}
	}
	for _, f := range allFaults {
		fmt.Fprintf(&b, "%36s %9d", f, counts["fault "+string(f)])
		for _, p := range phases {
			fmt.Fprintf(&b, " %10d", counts[pair(f, p)])
		}
		b.WriteByte('\n')
	}
	names := make([]string, 0, len(rest))
	for what := range rest {
		names = append(names, what)
	}
	slices.Sort(names)
	for _, what := range names {
		fmt.Fprintf(&b, "%9d  %s\n", rest[what], what)
	}
	return b.String()
}
