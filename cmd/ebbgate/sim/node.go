package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	heartbeat = 10 * time.Second
	probe     = 10 * time.Second
	pollEvery = time.Minute
)

// node is an edge node: the agent's shell, its disk and the data plane.
type node struct {
	w       *world
	luck    luck
	id      wire.AgentID
	region  wire.Region
	skew    time.Duration // of its clock
	jumped  time.Time     // when that changed
	drained bool          // no traffic
	cut     bool          // from the bus
	trouble map[wire.Version]fault
	curse   fault                 // whatever the version
	build   string                // version of the agent
	arms    bool                  // its data plane has something to preload
	liar    map[wire.AgentID]bool // whom it believes alive, whoever is; nil: it sees what is

	// On disk.
	state       plan.State
	releases    map[wire.Digest]bool
	rotten      map[wire.Digest]bool // not what was staged any more
	desired     *document
	incarnation uint64
	clean       bool
	current     content // what the link names, and under which epoch it was put

	// The data plane. It outlives the agent, not the node.
	planeUp bool
	live    content
	turns   int         // how often it began to serve something
	left    wire.Digest // live once, with nothing to go back to; it may be gone from the disk
	sickTo  time.Time   // it answers unhealthy until then

	// The agent's memory.
	up       bool
	life     int
	busy     bool
	basis    wire.Order // of what it does
	dirty    bool
	sequence uint64
	armed    content
	drift    string
	sick     string
	fails    int
	looked   time.Time
	delays   map[string]*delay
	failed   map[wire.Digest]failure
	proven   bool
	view     wire.AppReport
	alarm    int // which waking is due

	back      time.Time           // when it was last connected, after it was not
	started   time.Time           // its agent
	returned  time.Time           // the same, after the leader had missed it
	allowed   map[content]bool    // ever ordered of it
	confirmed map[wire.Epoch]bool // ever confirmed by it
}

type delay struct {
	wait  time.Duration
	until time.Time
}

type failure struct {
	err       string
	permanent bool
}

// clock is the node's own.
func (n *node) clock() time.Time { return n.w.now.Add(n.skew) }

func (n *node) online() bool { return n.up && !n.cut && !n.w.bus.cut[n.region] && !n.w.bus.down }

// serving returns what the node answers users with, if it does.
func (n *node) serving() content {
	if !n.planeUp || n.drained {
		return content{}
	}
	return n.live
}

// touch notes that what the node serves now may be cached.
func (n *node) touch() {
	if s := n.serving(); !s.digest.IsZero() {
		n.w.caches[n.region].last[s] = n.w.now
	}
}

// show makes the data plane serve c.
func (n *node) show(c content) {
	n.touch()
	n.live, n.left = c, wire.Digest{}
	n.turns++
	if sw := n.state.Switch; sw == nil || c != (content{sw.To.Digest, sw.To.Epoch}) {
		n.w.caches[n.region].begin(c, turn{n.id, n.turns})
	}
	n.touch()
	n.w.served(n)
}

// later goes on with something unless the agent dies before.
func (n *node) later(d time.Duration, do func()) {
	life := n.life
	n.w.after(d, func() {
		if n.life == life {
			do()
		}
	})
}

// turn goes on once the data plane has done something.
func (n *node) turn(least, most time.Duration, do func()) {
	slow := time.Duration(n.w.slow)
	n.later(n.luck.between(slow*least, slow*most), do)
}

func (n *node) start() {
	if n.up {
		return
	}
	if !n.planeUp {
		n.planeUp = true
		n.show(n.current)
	}
	n.life++ // a start that was planned is off
	n.started = n.w.now
	n.up, n.incarnation = true, max(n.incarnation+1, uint64(n.clock().UnixMilli()))
	n.delays, n.failed = make(map[string]*delay), make(map[wire.Digest]failure)
	clean := n.clean
	n.clean = false
	if n.state.Crashes > 0 || !clean || n.state.Switch != nil {
		if !n.change("started", func(s *plan.State) { s.Started(n.clock(), clean, plan.CrashWindow) }) {
			return
		}
	}
	n.vital()
	if n.state.Running != nil {
		n.drift = "has not been asked since the agent started"
	}
	n.render(nil)
	n.work()
	n.later(n.luck.between(100*time.Millisecond, time.Second), n.connected)
	n.beat()
	n.poll()
}

// vital reads back what may be put to service before anything else happens.
func (n *node) vital() {
	st := &n.state
	if st.Running != nil {
		n.whole(st.Running.Digest)
	}
	if st.Switch != nil {
		n.whole(st.Switch.To.Digest)
	}
	if st.Back != nil && st.Back.To != nil {
		n.whole(st.Back.To.Digest)
	}
}

// crash ends the agent at once; it is started again after d.
func (n *node) crash(why string, d time.Duration) {
	if !n.up {
		return
	}
	n.w.log("%s: the agent dies: %s", n.id, why)
	n.down(d)
}

func (n *node) stop(d time.Duration) {
	if !n.up {
		return
	}
	n.w.log("%s: the agent is stopped", n.id)
	n.clean = true
	n.down(d)
}

func (n *node) down(d time.Duration) {
	n.touch()
	n.life++
	n.up, n.busy, n.dirty, n.sequence = false, false, false, 0
	n.armed, n.drift, n.sick, n.fails, n.proven = content{}, "", "", 0, false
	n.looked, n.view = time.Time{}, wire.AppReport{}
	life := n.life
	n.w.after(d, func() {
		if n.life == life {
			n.start()
		}
	})
}

func (n *node) reboot(d time.Duration) {
	n.touch()
	n.w.log("%s reboots", n.id)
	n.planeUp = false
	n.down(d)
}

// change writes the changed state down and reports whether the agent lives.
func (n *node) change(point string, f func(*plan.State)) bool {
	if n.w.strikes(faultPoint, 30, n.region) {
		n.crash("before journal "+point, n.luck.between(time.Second, 5*time.Second))
		return false
	}
	before := n.state
	next := before.Clone()
	f(&next)
	n.state = next
	n.w.journaled(n, point, before)
	if n.w.strikes(faultPoint, 30, n.region) {
		n.crash("after journal "+point, n.luck.between(time.Second, 5*time.Second))
		return false
	}
	return true
}

func (n *node) connect() {
	if !n.cut {
		return
	}
	n.cut = false
	n.w.log("%s is connected", n.id)
	if n.online() {
		n.connected()
	}
}

// connected asks for what was missed and says how the node is.
func (n *node) connected() {
	n.back = n.w.now
	if n.w.now.Sub(n.w.bus.reports[n.id].stored) > lost+15*time.Second { // long enough for any leader to miss it
		n.returned = n.w.now
	}
	n.ask()
	n.later(n.luck.between(0, 100*time.Millisecond), n.send)
}

func (n *node) poll() {
	n.later(n.luck.between(pollEvery*3/4, pollEvery*5/4), func() { n.ask(); n.poll() })
}

// ask reads the newest document.
func (n *node) ask() {
	if !n.online() {
		return
	}
	life := n.life
	n.w.bus.carry(n.luck, func() {
		if d := n.w.bus.wants[n.region]; d != nil && n.online() && n.life == life {
			n.hear(d)
		}
	}, n.region)
}

// hear accepts a document that is newer than any before.
func (n *node) hear(d *document) {
	if n.desired != nil && d.sequence <= n.desired.sequence {
		n.w.count("order refused as a replay")
		return
	}
	n.desired = d
	if b := d.order.Base; b != nil {
		n.allowed[content{b.Digest, b.Epoch}] = true
	}
	if next := d.order.Next; next != nil && next.Phase == wire.PhaseActivate && next.Cohort.Has(n.id) {
		n.allowed[content{next.Digest, next.Epoch}] = true
	}
	n.changed()
	n.wake(0)
}

func (n *node) order() wire.Order {
	if n.desired == nil {
		return wire.Order{}
	}
	return n.desired.order
}

func (n *node) beat() {
	n.later(n.luck.between(heartbeat/2, heartbeat), func() { n.send(); n.beat() })
}

// changed sends a report soon.
func (n *node) changed() {
	if n.dirty {
		return
	}
	n.dirty = true
	n.later(n.luck.between(10*time.Millisecond, 100*time.Millisecond), n.send)
}

func (n *node) send() {
	n.dirty = false
	if !n.online() {
		return // heartbeat and connection repeat it
	}
	n.sequence++
	m := message{agent: n.id, incarnation: n.incarnation, sequence: n.sequence, turn: n.turns, report: n.view, members: n.members()}
	if n.desired != nil {
		m.desired = n.desired.sequence
	}
	if n.w.strikes(faultReport, 10, n.region) {
		n.later(n.luck.between(time.Second, 3*time.Second), n.changed)
		return
	}
	store := func() {
		b := n.w.bus
		b.carry(n.luck, func() {
			if !n.cut && !b.cut[n.region] && !b.missing {
				b.report(m)
			}
		}, n.region)
	}
	store()
	if n.w.strikes(faultRepeat, 10, n.region) { // the bus has it, and did not say so
		n.later(n.luck.between(4*time.Second, 8*time.Second), func() {
			if n.sequence == m.sequence && n.online() {
				store()
			}
		})
	}
}

// render makes the report that is sent next.
func (n *node) render(steps []plan.Step) {
	v := n.report(steps)
	v.Plane = "sim/1"
	if n.arms {
		v.Plane = "sim/2"
	}
	if !sameReport(n.view, v) {
		n.view = v
		n.changed()
	}
}

func (n *node) local() plan.Local {
	l := plan.Local{State: n.state, Agent: n.id, Staged: n.releases, Drift: n.drift, Sick: n.sick}
	if next := n.order().Next; next != nil && n.armed == (content{next.Digest, next.Epoch}) {
		l.Armed = next.Digest
	}
	return l
}

func (n *node) report(steps []plan.Step) wire.AppReport {
	failed := make(map[wire.Digest]plan.Failure, len(n.failed))
	for d, f := range n.failed {
		failed[d] = plan.Failure{Why: f.err, Permanent: f.permanent}
	}
	return plan.Report(n.order(), n.local(), plan.Sight{Proven: n.proven, Failed: failed}, steps)
}

// sameReport compares what is pointed to.
func sameReport(a, b wire.AppReport) bool {
	return value(a.Running) == value(b.Running) && value(a.Next) == value(b.Next) &&
		a.LKG == b.LKG && slices.Equal(a.Bad, b.Bad)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
