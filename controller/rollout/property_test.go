package rollout

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

var (
	histories    = flag.Int("histories", 60, "how many histories to play")
	firstHistory = flag.Uint64("first-history", 0, "seed of the first")
)

// TestHistories plays generated histories of operators, failures, partitions, restarts and
// purges that fail, and holds every step to the promises. A history that fails is replayed
// by its seed.
func TestHistories(t *testing.T) {
	for seed := *firstHistory; seed < *firstHistory+uint64(*histories); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playHistory(t, seed) })
		if t.Failed() {
			return
		}
	}
}

func playHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := newFleet(t)
	var log []string
	f.out = func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	defer func() {
		if t.Failed() {
			t.Logf("history %d:\n%s", seed, strings.Join(log, "\n"))
		}
	}()
	f.restart = []int{0, 0, 1 + rnd.IntN(20)}[rnd.IntN(3)]
	w := &witness{t: t, f: f, last: map[wire.Region]wire.Epoch{}}
	f.check = w.step
	regions := []wire.Region{"ap", "eu", "us"}[:1+rnd.IntN(3)]
	for _, r := range regions {
		var ids []wire.AgentID
		for i := range 1 + rnd.IntN(5) {
			ids = append(ids, wire.AgentID(fmt.Sprintf("%s-%d", r, i+1)))
		}
		f.enrol(r, ids...)
	}
	if rnd.IntN(4) > 0 {
		f.command([]string{"given", "1.0"}, "")
	}
	w.agents = f.allNodes()
	if crowd := rand.New(rand.NewPCG(seed, 2)); crowd.IntN(3) == 0 {
		f.s.Room = map[wire.Region]int{regions[0]: crowd.IntN(40)}
	}
	starts := 0
	for range 15 + rnd.IntN(25) {
		r := regions[rnd.IntN(len(regions))]
		n := w.agents[rnd.IntN(len(w.agents))]
		v := wire.Version(fmt.Sprintf("%d.0", 2+rnd.IntN(3)))
		switch rnd.IntN(24) {
		case 0, 1, 2:
			starts++
			id := fmt.Sprintf("r%d", starts)
			e := Start{Now: f.now, ID: id, By: "kim", Seed: id, Target: bundle(v), Plan: randomPlan(rnd, regions)}
			if ro := f.s.active(); ro != nil && rnd.IntN(2) == 0 {
				e.Supersede = ro.ID
			}
			if rnd.IntN(8) == 0 {
				e.Emergency = &Emergency{"test", f.now.Add(time.Duration(1+rnd.IntN(5)) * time.Minute)}
			}
			f.operator(e)
		case 3:
			f.operator(Pause{Now: f.now, By: "kim"})
		case 4, 5:
			f.operator(Resume{Now: f.now, By: "kim"})
		case 6:
			f.operator(Abort{Now: f.now, By: "kim", All: rnd.IntN(3) == 0})
		case 7:
			starts++
			f.operator(Undo{Now: f.now, ID: fmt.Sprintf("u%d", starts), By: "kim"})
		case 8, 9:
			log = append(log, f.clock()+" silent "+string(n.id))
			n.silent = true
		case 10, 11:
			log = append(log, f.clock()+" back "+string(n.id))
			n.silent = false
		case 12:
			log = append(log, f.clock()+" trouble "+string(n.id)+" "+string(v))
			n.trouble[v] = []string{"stage", "activate", "stuck", "unhealthy"}[rnd.IntN(4)]
		case 13:
			log = append(log, f.clock()+" cure "+string(n.id))
			clear(n.trouble)
		case 14:
			n.drained = !n.drained
			log = append(log, fmt.Sprintf("%s drained %s %v", f.clock(), n.id, n.drained))
			r, _ := f.find(n.id)
			f.list(r)
		case 15:
			f.stuck[r] = []string{"hold", "fails"}[rnd.IntN(2)]
			log = append(log, f.clock()+" purges "+string(r)+" "+f.stuck[r])
		case 16:
			delete(f.stuck, r)
		case 17:
			id := wire.AgentID(fmt.Sprintf("%s-late-%d", r, f.now.Unix()%1000))
			if slices.ContainsFunc(w.agents, func(n *node) bool { return n.id == id }) {
				continue
			}
			log = append(log, f.clock()+" enrol "+string(id))
			f.enrol(r, id)
			w.agents = f.allNodes()
		case 18:
			if len(n.log) > 0 {
				e := n.log[rnd.IntN(len(n.log))]
				e.Now = f.now
				f.feed(e)
			}
		case 19:
			f.sources["errors"] = Measured{Cohort: Sample{Value: ptr(float64(rnd.IntN(5)) / 3)}}
			if rnd.IntN(3) == 0 {
				f.sources["errors"] = Measured{Error: "down"}
			}
		case 20:
			f.operator([]Event{Approve{Now: f.now, By: "lee"}, Approve{Now: f.now, By: "ann"}, Promote{Now: f.now, By: "lee"}, StepBack{Now: f.now, By: "lee"}}[rnd.IntN(4)])
		case 21:
			if n.app.Running != nil {
				n.app.Running.Crashes, n.changed = rnd.IntN(3), true
			}
		case 22:
			n.build, n.changed = fmt.Sprint("1.", rnd.IntN(3)), true
		case 23:
			f.run(time.Duration(30+rnd.IntN(60)) * time.Second)
		}
		f.run(time.Duration(1+rnd.IntN(8)) * time.Second)
	}
	w.settle()
}

func (f *fleet) allNodes() (all []*node) {
	for _, r := range wire.Keys(f.nodes) {
		all = append(all, f.nodes[r]...)
	}
	return all
}

func randomPlan(rnd *rand.Rand, regions []wire.Region) Plan {
	p := basePlan()
	p.Deadline = wire.Duration(time.Duration(20+rnd.IntN(60)) * time.Second)
	p.Healthy = 0
	p.MaxUnavailable = []Amount{Count(1), Count(2), Share(50), Share(30)}[rnd.IntN(4)]
	p.MaxUnreachable = []Amount{Count(0), Count(0), Count(1), Share(30)}[rnd.IntN(4)]
	p.MaxFailures = []int{0, 0, 1}[rnd.IntN(3)]
	p.OnPurgeFailure = []OnFailure{HoldOnly, HoldOnly, RevertWave}[rnd.IntN(3)]
	p.OnFailure = []OnFailure{RevertWave, RevertStep, RevertAll, HoldOnly}[rnd.IntN(4)]
	if rnd.IntN(3) == 0 {
		limit := 1.0
		p.Gates = []Gate{{Name: "errors", Prometheus: "main", Query: "errors", Max: &limit, Interval: wire.Duration(5 * time.Second), Failures: 1 + rnd.IntN(2)}}
	}
	if rnd.IntN(6) == 0 {
		p.Freeze = []Window{{From: epoch0.Add(2 * time.Minute).Format(time.RFC3339), Until: epoch0.Add(4 * time.Minute).Format(time.RFC3339)}}
	}
	regions = slices.Clone(regions)
	rnd.Shuffle(len(regions), func(i, j int) { regions[i], regions[j] = regions[j], regions[i] })
	for len(regions) > 0 {
		n := 1 + rnd.IntN(len(regions))
		w := Wave{Regions: regions[:n:n], Strategy: StrategyRolling, MaxParallel: rnd.IntN(2), Bake: wire.Duration(rnd.IntN(20)) * wire.Duration(time.Second)}
		if rnd.IntN(3) == 0 {
			w.Strategy = []Strategy{StrategyCanary, StrategyBlueGreen}[rnd.IntN(2)]
			w.Approve = rnd.IntN(2)
			w.Steps = []PlanStep{{Activate: Count(1), Bake: wire.Duration(rnd.IntN(5)) * wire.Duration(time.Second)}, {Activate: Share(60)}, {Activate: Share(100)}}
		}
		p.Waves = append(p.Waves, w)
		regions = regions[n:]
	}
	return p
}

// witness knows the truth about the nodes and holds every step to it.
type witness struct {
	t      *testing.T
	f      *fleet
	agents []*node
	last   map[wire.Region]wire.Epoch // highest epoch ordered
	steps  int
}

func (w *witness) step(before State, e Event, after State, effects []Effect) {
	t := w.t
	t.Helper()
	if w.steps++; len(effects) > 0 || w.steps%10 == 0 {
		w.pure(before, e, after, effects)
	}
	if changed := !sameBut(before.Record, after.Record); changed != (after.Revision == before.Revision+1) || !changed && after.Revision != before.Revision {
		t.Errorf("%T: changed %v, revision %d → %d", e, changed, before.Revision, after.Revision)
	}
	for _, r := range wire.Keys(after.Regions) {
		w.order(r, OrderFor(after, r))
		if room, less := after.Room[r]; less && SizeOfNames(OrderFor(after, r)) > room {
			t.Errorf("the names in the order of %s take %d bytes, there is room for %d", r, SizeOfNames(OrderFor(after, r)), room)
		}
	}
	published := map[wire.Region]bool{}
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Publish:
			published[eff.Region] = true
		case Purge:
			w.purge(after, eff)
		case Decide:
			if eff.Decision.Kind == KindWiden {
				w.widened(before, after, eff.Decision)
			}
		}
	}
	for _, r := range wire.Keys(after.Regions) {
		if changed := !reflect.DeepEqual(OrderFor(before, r), OrderFor(after, r)); changed != published[r] {
			t.Errorf("%T: order of %s changed %v, published %v", e, r, changed, published[r])
		}
	}
	w.waves(after)
}

// pure holds that Step is a function and left its input alone.
func (w *witness) pure(before State, e Event, after State, effects []Effect) {
	record, view := asJSON(w.t, before.Record), flat(before.View)
	again, effectsAgain := Step(before, e)
	if !reflect.DeepEqual(after, again) || !reflect.DeepEqual(effects, effectsAgain) {
		w.t.Errorf("%T: two steps from one state differ", e)
	}
	if record != asJSON(w.t, before.Record) || view != flat(before.View) {
		w.t.Errorf("%T: Step changed its input", e)
	}
}

func flat(v View) string {
	var b strings.Builder
	for _, r := range wire.Keys(v.Members) {
		for _, a := range v.Members[r].Agents {
			report, _ := json.Marshal(a.Report)
			fmt.Fprintln(&b, r, a.ID, a.Drained, a.Seen, a.Stored, a.Sequence, a.score, string(report))
		}
	}
	return b.String()
}

func sameBut(a, b Record) bool {
	a.Revision, b.Revision = 0, 0
	return reflect.DeepEqual(a, b)
}

// order: valid as a document, and epochs never go down.
func (w *witness) order(r wire.Region, o wire.Order) {
	if o.Base == nil && o.Next == nil {
		return
	}
	d := wire.Desired{Fleet: "test", Region: r, Sequence: 1, Issued: w.f.now, Apps: map[wire.App]wire.Order{"edge-proxy": o}}
	if err := d.Validate(); err != nil {
		w.t.Errorf("%s: %v", r, err)
	}
	e := wire.Epoch(0)
	if o.Base != nil {
		e = o.Base.Epoch
	}
	if o.Next != nil {
		e = o.Next.Epoch
	}
	if last := w.f.s.Regions[r].LastEpoch; e > max(last, w.last[r])+1 {
		w.t.Errorf("%s: epoch %d skips from %d", r, e, w.last[r])
	}
	if o.Next != nil && o.Next.Phase == wire.PhaseActivate {
		if e < w.last[r] {
			w.t.Errorf("%s: activation of epoch %d after %d", r, e, w.last[r])
		}
		w.last[r] = e
	}
}

// purge: no node that serves may be on the way, but for those that may be left behind. The
// nodes are asked themselves, not the reports.
func (w *witness) purge(s State, p Purge) {
	plan := Plan{}
	if s.Rollout != nil {
		plan = s.Rollout.Plan
	}
	var behind []wire.AgentID
	serving, bad := 0, 0
	var live []string
	for _, n := range w.f.nodes[p.Region] {
		if n.drained {
			continue
		}
		serving++
		run := n.app.Running
		if run != nil && run.Epoch == p.Epoch && run.State == wire.StateConfirmed && run.Error == "" {
			if run.Digest != p.To {
				w.t.Errorf("%s purged for %s, %s serves other content", p.Region, p.To.Short(), n.id)
			}
			continue
		}
		if n.silent || w.f.now.Sub(n.sentAt) > s.lost() {
			behind = append(behind, n.id)
		} else {
			bad++
			live = append(live, fmt.Sprintf("%s %+v sent %s", n.id, run, n.sentAt))
		}
	}
	rr := s.Regions[p.Region]
	if p.Round > 1 || rr.Phase != PhasePurging && rr.Phase != PhaseRepurging {
		return
	}
	if len(behind) > plan.MaxUnreachable.Floor(serving)+excused(s, p.Region)+recent(w.f, p.Region) {
		w.t.Errorf("%s purged at epoch %d before %v confirmed", p.Region, p.Epoch, behind)
	}
	if bad > plan.MaxFailures+excused(s, p.Region) {
		w.t.Errorf("%s purged at epoch %d with live agents not on it: %v", p.Region, p.Epoch, live)
	}
}

func excused(s State, r wire.Region) int { return len(s.Regions[r].Acked) }

// recent counts nodes that fell silent too lately to be known to be.
func recent(f *fleet, r wire.Region) (n int) {
	for _, x := range f.nodes[r] {
		if x.silent && f.now.Sub(x.sentAt) <= f.s.lost() {
			n++
		}
	}
	return n
}

// widened: what may switch beyond what has is within the budget.
func (w *witness) widened(before, after State, d Decision) {
	tl := after.tally(d.Region)
	budget := after.Budget(d.Region)
	already := before.tally(d.Region).InFlight
	if rr := before.Regions[d.Region]; rr.Phase == PhaseReverting { // silent ones below the cut-off may come back together
		already = 0
		for _, a := range before.View.Members[d.Region].Agents {
			already += one(!a.Drained && inCohort(rr, a) && !confirmed(a, rr.epoch()))
		}
	}
	inFlight := tl.InFlight
	rr := after.Regions[d.Region]
	for _, a := range after.View.Members[d.Region].Agents { // whose failure, to confirm in time, an operator has passed over
		_, acked := slices.BinarySearch(rr.Acked, a.ID)
		inFlight -= one(acked && !a.Drained && after.presence(a) == live && after.failed(rr, a) == "" && inCohort(rr, a) && !confirmed(a, rr.epoch()))
	}
	if _, less := after.Room[d.Region]; !less && inFlight > max(budget, already) { // without room nobody is excepted
		w.t.Errorf("%s: %d in flight, at most %d", d.Region, inFlight, budget)
	}
}

// nobody reports whether a region holds because all that are heard of have failed.
func (w *witness) nobody() bool {
	return slices.ContainsFunc(wire.Keys(w.f.s.Regions), func(r wire.Region) bool {
		h := w.f.s.Regions[r].Hold
		return h != nil && h.Kind == HoldNobody
	})
}

// waves: no region activates unless every region of the waves before is committed, and no
// second one before an agent has confirmed the release.
func (w *witness) waves(s State) {
	ro := s.active()
	if ro == nil || ro.Ending != "" {
		return
	}
	unshown := 0
	for i, wave := range ro.Plan.Waves {
		for _, r := range wave.Regions {
			rr := s.Regions[r]
			unshown += one(!ro.Shown && (rr.Phase == PhaseArming || rr.Phase == PhaseActivating))
			if i < ro.Wave && (rr.Phase != PhaseCommitted || rr.Times.Barrier.IsZero()) {
				w.t.Errorf("wave %d is current, %s of wave %d is %s", ro.Wave+1, r, i+1, rr.Phase)
			}
			if i > ro.Wave && rr.Phase != PhaseStaging {
				w.t.Errorf("wave %d is current, %s of wave %d is %s", ro.Wave+1, r, i+1, rr.Phase)
			}
			if i == ro.Wave && rr.Phase == PhaseBaking && (rr.Purge == nil || rr.Purge.Epoch != rr.Next.Epoch) {
				w.t.Errorf("%s bakes without a purge", r)
			}
		}
	}
	if unshown > 1 {
		w.t.Errorf("%d regions activate what nobody has confirmed", unshown)
	}
}

// settle makes everything well. Then the rollout has to come to an end, every node to its
// region's base, and every activation to have been followed by a purge.
func (w *witness) settle() {
	f := w.f
	clear(f.stuck)
	f.sources["errors"] = Measured{Cohort: Sample{Value: ptr(0)}}
	for _, n := range w.agents {
		n.silent, n.drained = false, false
		clear(n.trouble)
		if n.app.Running != nil {
			n.app.Running.Crashes, n.changed = 0, true
		}
	}
	for _, r := range wire.Keys(f.nodes) {
		f.list(r)
	}
	for i := range 20 {
		f.run(30 * time.Second)
		// A step cannot be taken back without room for the names, and a release on which everybody
		// failed stays so on them.
		if e := (Abort{Now: f.now, By: "kim"}); i > 10 && (f.s.Room != nil || w.nobody()) && Check(f.s, e) == nil {
			f.feed(e)
		}
		if Check(f.s, Resume{Now: f.now, By: "kim"}) == nil {
			f.feed(Resume{Now: f.now, By: "kim"})
		}
		for _, name := range []string{"lee", "ann"} {
			if e := (Approve{Now: f.now, By: name}); Check(f.s, e) == nil {
				f.feed(e)
			}
		}
		if f.s.active() == nil && len(f.s.failedPurges()) == 0 {
			break
		}
	}
	f.run(time.Minute)
	if ro := f.s.active(); ro != nil {
		w.t.Errorf("rollout %s does not end: %s", ro.ID, asJSON(w.t, Status(f.s).Rollout.Reason))
		return
	}
	for _, r := range wire.Keys(f.nodes) {
		rr := f.s.Regions[r]
		if rr.Committed == nil {
			continue
		}
		if rr.Purge == nil || rr.Purge.Verified.IsZero() || rr.Late {
			if rr.Phase != PhaseDropped {
				w.t.Errorf("%s ends without a purge: %+v", r, rr.Purge)
			}
			continue
		}
		for _, n := range f.nodes[r] {
			if n.app.Running.Epoch != rr.Committed.Epoch {
				w.t.Errorf("%s runs epoch %d, its region is committed to %d", n.id, n.app.Running.Epoch, rr.Committed.Epoch)
			} else if n.since.After(rr.Purge.Requested) {
				w.t.Errorf("%s switched at %s, the last purge of %s was at %s", n.id, n.since, r, rr.Purge.Requested)
			}
		}
	}
}
