package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

var epoch0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// node is an agent that does what agents do: stage in a second, switch when the order lets
// it, confirm a second later, report every change at once and otherwise every ten seconds.
type node struct {
	id      wire.AgentID
	silent  bool
	drained bool
	pinned  bool                    // follows no orders: an operator on the node decides
	trouble map[wire.Version]string // version → "stage", "activate", "stuck", "unhealthy"
	app     wire.AppReport
	seq     uint64
	sentAt  time.Time
	build   string
	peers   []wire.AgentID
	log     []Reported
	changed bool
	since   time.Time // of its last activation
}

// fleet drives Step the way a shell does, with nodes instead of agents.
type fleet struct {
	t       testing.TB
	s       State
	now     time.Time
	nodes   map[wire.Region][]*node
	lists   map[wire.Region]Members
	purging map[string]*job
	stuck   map[wire.Region]string   // region → "hold", "unseen …", "stale …", or why its purges fail
	sources map[string]Measured      // gate → what is answered
	lags    map[string]time.Duration // gate → how long its source takes to answer
	asked   []asked                  // not answered yet
	restart int                      // lose all memory but the Record after every so many events; 0: never
	fed     int
	out     func(format string, args ...any)
	check   func(before State, e Event, after State, effects []Effect)
	quiet   bool
}

// asked is a reading that is answered at a time.
type asked struct {
	Measure
	at time.Time
}

type job struct {
	Purge
	at time.Time
}

func newFleet(t testing.TB) *fleet {
	return &fleet{
		t: t, s: State{Record: Record{App: "edge-proxy"}}, now: epoch0,
		nodes: map[wire.Region][]*node{}, lists: map[wire.Region]Members{},
		purging: map[string]*job{}, stuck: map[wire.Region]string{}, sources: map[string]Measured{}, lags: map[string]time.Duration{},
		out: func(string, ...any) {},
	}
}

func bundle(v wire.Version) wire.Target {
	d := wire.DigestOf([]byte("bundle " + v))
	return wire.Target{Digest: d, Version: v, Packs: []wire.PackRef{{Index: wire.DigestOf([]byte("pack " + v))}}}
}

// feed takes an event in and carries out the effects.
func (f *fleet) feed(e Event) {
	f.t.Helper()
	before := f.s
	after, effects := Step(before, e)
	if f.check != nil {
		f.check(before, e, after, effects)
	}
	f.s = after
	for _, eff := range effects {
		f.do(eff)
	}
	if f.fed++; f.restart > 0 && f.fed%f.restart == 0 {
		f.reload()
	}
}

// reload is what a new controller does: load the journal, carry out what is pending, listen.
func (f *fleet) reload() {
	f.t.Helper()
	data, err := json.Marshal(f.s.Record)
	if err != nil {
		f.t.Fatal(err)
	}
	s := State{Lost: f.s.Lost, Room: f.s.Room}
	if err := json.Unmarshal(data, &s.Record); err != nil {
		f.t.Fatal(err)
	}
	f.s = s
	for _, e := range Pending(s) {
		if p, ok := e.(Purge); ok && f.purging[p.ID()] == nil {
			f.t.Errorf("%s pending but never asked for", p.ID())
		}
	}
	for _, r := range wire.Keys(f.lists) {
		m := f.lists[r]
		m.Now = f.now
		f.silently(m)
	}
	for _, r := range wire.Keys(f.nodes) {
		for _, n := range f.nodes[r] {
			if len(n.log) > 0 {
				last := n.log[len(n.log)-1]
				last.Now = f.now
				f.silently(last)
			}
		}
	}
}

// silently feeds what was known before: it must lead to nothing new.
func (f *fleet) silently(e Event) {
	f.t.Helper()
	after, effects := Step(f.s, e)
	for _, eff := range effects {
		f.t.Errorf("after a restart, %T leads to %s %+v", e, eff.ID(), eff)
	}
	f.s = after
}

func (f *fleet) do(eff Effect) {
	switch eff := eff.(type) {
	case Decide:
		d := eff.Decision
		where := string(d.Region)
		if where == "" {
			where = "-"
		}
		f.say("%s %-8s %s: %s", f.clock(), d.Kind, where, d.Reason)
	case Publish:
		f.say("%s publish  %s: %s", f.clock(), eff.Region, orderLine(OrderFor(f.s, eff.Region)))
	case Measure:
		f.asked = append(f.asked, asked{eff, f.now.Add(f.lags[eff.Gate.Name])})
	case Purge:
		f.say("%s PURGE    %s: epoch %d round %d from %s to %s", f.clock(), eff.Region, eff.Epoch, eff.Round, f.names(digests(eff.From)...), f.names(eff.To))
		f.purging[eff.ID()] = &job{eff, f.now.Add(2 * time.Second)}
	}
}

func (f *fleet) say(format string, args ...any) {
	if !f.quiet {
		f.out(format, args...)
	}
}

func (f *fleet) clock() string { return sinceEpoch0(f.now) }

func sinceEpoch0(at time.Time) string {
	d := at.Sub(epoch0)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func digests(served []Served) []wire.Digest {
	var ds []wire.Digest
	for _, s := range served {
		if !slices.Contains(ds, s.Digest) {
			ds = append(ds, s.Digest)
		}
	}
	return ds
}

// names turns digests back into versions.
func (f *fleet) names(ds ...wire.Digest) string {
	var names []string
	for _, d := range ds {
		name := d.Short()
		for _, v := range []wire.Version{"1.0", "2.0", "3.0", "4.0"} {
			if bundle(v).Digest == d {
				name = string(v)
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return "[" + strings.Join(names, " ") + "]"
}

func orderLine(o wire.Order) string {
	s := "base -"
	if o.Base != nil {
		s = fmt.Sprintf("base %s@%d", o.Base.Version, o.Base.Epoch)
	}
	if n := o.Next; n != nil {
		s += fmt.Sprintf(", %s %s@%d", n.Phase, n.Version, n.Epoch)
		switch {
		case len(n.Cohort.Named) > 0:
			s += fmt.Sprintf(" to %s and %s", n.Cohort.CutOff.String()[:4], n.Cohort.Named)
			return s
		}
		switch n.Cohort.CutOff {
		case 0:
		case wire.AllScores:
			s += " all"
		default:
			s += " to " + n.Cohort.CutOff.String()[:4]
		}
		if len(n.Cohort.Except) > 0 {
			s += fmt.Sprintf(" but %s", n.Cohort.Except)
		}
	}
	return s
}

func (f *fleet) enrol(r wire.Region, ids ...wire.AgentID) {
	for _, id := range ids {
		f.nodes[r] = append(f.nodes[r], &node{id: id, trouble: map[wire.Version]string{}, app: wire.AppReport{Plane: "nginx/1.22.1"}})
	}
	f.list(r)
}

// list announces the members of a region.
func (f *fleet) list(r wire.Region) {
	m := Members{Now: f.now, Region: r}
	for _, n := range f.nodes[r] {
		m.Agents = append(m.Agents, Member{n.id, n.drained})
	}
	f.lists[r] = m
	f.feed(m)
}

func (f *fleet) find(id wire.AgentID) (wire.Region, *node) {
	for _, r := range wire.Keys(f.nodes) {
		for _, n := range f.nodes[r] {
			if n.id == id {
				return r, n
			}
		}
	}
	f.t.Fatalf("no agent %s", id)
	return "", nil
}

// run lets time pass second by second.
func (f *fleet) run(d time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(time.Second)
		f.second()
	}
}

func (f *fleet) second() {
	f.feed(Tick{f.now})
	for _, r := range wire.Keys(f.nodes) {
		for _, n := range f.nodes[r] {
			n.act(OrderFor(f.s, r), f.now)
			if !n.silent && (n.changed || f.now.Sub(n.sentAt) >= 10*time.Second) {
				f.report(r, n)
			}
		}
	}
	asked := f.asked
	f.asked = nil
	for _, m := range asked {
		if f.now.Before(m.at) {
			f.asked = append(f.asked, m)
			continue
		}
		if answer, ok := f.sources[m.Gate.Name]; ok {
			answer.Now, answer.Region, answer.Epoch, answer.Gate, answer.Round = f.now, m.Region, m.Epoch, m.Gate.Name, m.Round
			answer.Alone = len(m.Rest) == 0
			if len(m.Cohort) == 0 {
				answer.Cohort = Sample{} // asked before anybody was heard of
			}
			f.feed(answer)
		}
	}
	for _, id := range wire.Keys(f.purging) {
		p := f.purging[id]
		if why := f.stuck[p.Region]; p.at.IsZero() || f.now.Before(p.at) || why == "hold" {
			continue
		} else if reason, unseen := strings.CutPrefix(why, "unseen "); unseen {
			f.feed(PurgeUnverified{Now: f.now, Region: p.Region, Epoch: p.Epoch, Round: p.Round, Reason: reason})
		} else if reason, stale := strings.CutPrefix(why, "stale "); stale {
			f.feed(PurgeUnverified{Now: f.now, Region: p.Region, Epoch: p.Epoch, Round: p.Round, Stale: true, Reason: reason})
		} else if p.at = (time.Time{}); why != "" {
			f.feed(PurgeFailed{f.now, p.Region, p.Epoch, p.Round, why})
		} else {
			f.feed(PurgeVerified{Now: f.now, Region: p.Region, Epoch: p.Epoch, Round: p.Round})
		}
	}
}

func (f *fleet) report(r wire.Region, n *node) {
	n.seq++
	n.sentAt, n.changed = f.now, false
	app := n.app
	if app.Running != nil {
		c := *app.Running
		app.Running = &c
	}
	if app.Next != nil {
		c := *app.Next
		app.Next = &c
	}
	e := Reported{Now: f.now, Region: r, Agent: n.id, Stored: f.now, Incarnation: 1, Sequence: n.seq, Build: n.build, Peers: n.peers, Report: app}
	n.log = append(n.log, e)
	f.feed(e)
}

// act is one second of a node's life, whether it is heard of or not. A silent node does not
// hear either.
func (n *node) act(o wire.Order, now time.Time) {
	run := n.app.Running
	if run != nil && run.State == wire.StateActive && n.trouble[run.Version] != "stuck" {
		run.State, n.changed = wire.StateConfirmed, true
	}
	if run != nil && run.Error == "" && n.trouble[run.Version] == "unhealthy" {
		run.Error, n.changed = "probe / answers 502", true
	}
	if run != nil && run.Error != "" && n.trouble[run.Version] == "" {
		run.Error, n.changed = "", true
	}
	if n.silent || n.pinned {
		return
	}
	want := o.Base
	if o.Next != nil {
		if o.Next.Phase == wire.PhaseStage || !o.Next.Cohort.Has(n.id) || now.After(o.Next.Expires) {
			staged := n.stage(&o.Next.Target)
			if p := n.app.Next; staged && o.Next.Phase == wire.PhaseStage && o.Next.Cohort.Has(n.id) && p != nil && p.State == wire.StateStaged {
				p.State, n.changed = wire.StateArmed, true
			}
		} else {
			want = &o.Next.Target
		}
	} else if n.app.Next != nil && (want == nil || n.app.Next.Epoch != want.Epoch) {
		n.app.Next, n.changed = nil, true
	}
	if want == nil || run != nil && run.Epoch >= want.Epoch {
		return
	}
	if !n.stage(want) {
		return
	}
	if n.trouble[want.Version] == "activate" {
		n.app.Next = &wire.Progress{Epoch: want.Epoch, Digest: want.Digest, Version: want.Version, State: wire.StateReverted, Error: "old release answers"}
		n.changed = true
		return
	}
	n.app.Running = &wire.Running{Epoch: want.Epoch, Digest: want.Digest, Version: want.Version, State: wire.StateActive, Since: now}
	n.app.Next, n.changed, n.since = nil, true, now
}

// stage returns whether the target was staged before this second.
func (n *node) stage(want *wire.Target) bool {
	if n.app.Running != nil && n.app.Running.Epoch >= want.Epoch {
		return false
	}
	if p := n.app.Next; p != nil && p.Epoch == want.Epoch {
		if p.State != wire.StateStaged && p.State != wire.StateArmed && n.trouble[want.Version] == "" {
			p.State, p.Error, n.changed = wire.StateStaged, "", true
		}
		return p.State == wire.StateStaged || p.State == wire.StateArmed
	}
	p := &wire.Progress{Epoch: want.Epoch, Digest: want.Digest, Version: want.Version, State: wire.StateStaged}
	if n.trouble[want.Version] == "stage" {
		p.State, p.Error = wire.StateFailed, "nginx -t: unknown directive"
	}
	n.app.Next, n.changed = p, true
	return false
}
