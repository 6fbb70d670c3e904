package stale

import (
	"fmt"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// play is a scenario under way.
type play struct {
	fleet    *fleet
	scenario scenario
	control  string // what is switched off; empty: nothing
	version  string
	load     *load
	ends     []func()
	due      map[wire.Region]int64 // when a barrier had to be reached that never was; of controls only
}

// result is what came of a scenario.
type result struct {
	count
	scenario scenario
	control  string
	answers  []answer
	courses  []course
	calls    []call
}

// perform plays a scenario until at least so many requests were answered. The barriers are
// told by another process, so times are by the wall clock: a run during which somebody sets
// that is void, and played again.
func (f *fleet) perform(t *testing.T, s scenario, control string, requests, perSecond int) result {
	t.Helper()
	for range 3 {
		r, set := f.attempt(t, s, control, requests, perSecond)
		if set.Abs() <= time.Millisecond {
			return r
		}
		t.Logf("%s: the clock was set by %s during the run, which is therefore void", s.name, set)
	}
	t.Fatal("the clock is set again and again")
	return result{}
}

// attempt plays it once, and returns by how much the clock was set meanwhile.
func (f *fleet) attempt(t *testing.T, s scenario, control string, requests, perSecond int) (_ result, set time.Duration) {
	t.Helper()
	p := &play{fleet: f, scenario: s, control: control, version: f.next(), due: make(map[wire.Region]int64)}
	defer func() {
		for _, end := range p.ends {
			end()
		}
	}()
	f.doors.begin(s.manner)
	f.publish(t, p.version)
	if s.before != nil {
		s.before(p, t)
	}
	began := time.Now()
	p.load = startLoad(fmt.Sprintf("r%d", f.runs), f.sites, s.fetch, perSecond)
	ended := false
	defer func() {
		if !ended {
			p.load.end()
		}
	}()
	until(t, "the cold pages to be cached", func() bool { return p.load.chilled.Load() == int64(len(f.sites)) })
	p.goOn(t, s.fetch/2+time.Second)
	f.start(t, p.version, s.plan)
	if s.during != nil {
		s.during(p, t)
	}
	f.waitEnd(t, p.version, s.status())
	if s.after != nil {
		s.after(p, t)
	}
	close(p.load.ripe)
	until(t, "the cold pages to be asked for again", func() bool { return p.load.rechill.Load() == int64(len(f.sites)) })
	p.goOn(t, 2*s.fetch+time.Second) // whatever was waited for has come, and was asked for again
	until(t, "enough requests", func() bool { return p.load.asked.Load() >= int64(requests) })
	v := f.state(t)
	answers := p.load.end()
	ended = true
	set = time.Now().Round(0).Sub(began.Round(0)) - time.Since(began)
	courses := p.courses(t, v)
	return result{
		count: tally(answers, courses), scenario: s, control: control,
		answers: answers, courses: courses, calls: f.doors.passed(),
	}, set
}

// next returns the version of the next release.
func (f *fleet) next() string {
	f.runs++
	return fmt.Sprintf("1.%d.0", f.runs)
}

func (s scenario) status() rollout.RolloutStatus {
	if s.ends == "" {
		return rollout.StatusDone
	}
	return s.ends
}

// waitEnd waits until the rollout of a version has ended as wanted.
func (f *fleet) waitEnd(t *testing.T, version string, want rollout.RolloutStatus) {
	t.Helper()
	v := f.waitState(t, "the rollout to end", func(v controller.AppView) bool {
		return string(v.Rollout.Target.Version) == version && v.Rollout.Status.Ended()
	})
	if v.Rollout.Status != want {
		t.Fatalf("the rollout of %s ended as %s, want %s: %v", version, v.Rollout.Status, want, v.Explain)
	}
}

// decided returns how often the rollout of a version has decided something.
func decided(v controller.AppView, version string, k rollout.Kind) (n int) {
	if string(v.Rollout.Target.Version) != version {
		return 0
	}
	for _, d := range v.Rollout.Decisions {
		if d.Kind == k {
			n++
		}
	}
	return n
}

func (p *play) atEnd(f func()) { p.ends = append(p.ends, f) }

// goOn lets the load go on for a time, which is part of the scenario.
func (p *play) goOn(t *testing.T, d time.Duration) {
	t.Helper()
	began := time.Now()
	until(t, "time to pass", func() bool { return time.Since(began) >= d })
}

// lateWait is how long a purge that follows a late activation may take before a control is
// held to it anyway: twice what it takes.
const lateWait = 6 * time.Second

// follows waits for the barrier of a further purge of the region. Where that is switched
// off, the region is held to it when it is due.
func (p *play) follows(t *testing.T, r wire.Region) {
	t.Helper()
	began := time.Now()
	overdue := false
	p.fleet.waitState(t, "a further purge of "+string(r), func(v controller.AppView) bool {
		for _, s := range v.Summary.Regions {
			if s.Region == r && s.Purge != nil && s.Purge.Round > 1 && !s.Purge.Verified.IsZero() {
				return true
			}
		}
		overdue = p.control != "" && time.Since(began) > lateWait
		return overdue
	})
	if overdue {
		p.due[r] = time.Now().UnixNano()
	}
}

// courses reads what the controller decided in each region.
func (p *play) courses(t *testing.T, v controller.AppView) []course {
	t.Helper()
	if v.Rollout == nil || string(v.Rollout.Target.Version) != p.version {
		t.Fatalf("the controller does not tell of the rollout of %s", p.version)
	}
	var all []course
	for _, r := range regions {
		all = append(all, courseOf(r, v.Rollout.Decisions, r == p.scenario.behind, p.due[r]))
	}
	return all
}
