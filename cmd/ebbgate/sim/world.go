package sim

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

const app wire.App = "edge-proxy"

// Result is how the history of one seed went.
type Result struct {
	Seed   uint64
	Shape  Shape
	Err    error // the first promise that was broken
	Events int
	Hash   uint64         // of the whole trace
	Counts map[string]int // transition, or fault and phase → how often
	Trace  []string

	// What it was made of.
	Faults                    []string
	Commands, Agents, Regions int
}

// violation is what a check panics with: nothing after it means anything.
type violation struct{ error }

// event is something that will happen. Events at one time happen in the order they were
// asked for.
type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*a = old[:len(old)-1]
	return e
}

// world is everything there is. now is the bus's clock, and the true time.
type world struct {
	res    Result
	now    time.Time
	agenda agenda
	seq    uint64
	hash   hash.Hash64 // of the trace

	on      map[fault]luck // of the seed
	quest   quest
	faulty  bool // they may strike now
	slow    int  // how many times longer than the fastest a data plane takes to arm and to switch
	regions []wire.Region
	phase   map[wire.Region]rollout.RegionPhase // as last decided
	nodes   map[wire.Region][]*node
	byID    map[wire.AgentID]*node
	all     []*node
	ctls    []*controller
	bus     *bus
	caches  map[wire.Region]*cache
	catalog catalog
	op      operator
	checks  checks
}

// Run plays the history of a seed.
func Run(seed uint64, shape Shape) (res Result) {
	w := &world{
		res:  Result{Seed: seed, Shape: shape, Counts: make(map[string]int)},
		now:  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		hash: fnv.New64a(),
	}
	defer func() {
		if p := recover(); p != nil {
			v, ours := p.(violation)
			if !ours {
				v.error = fmt.Errorf("at %s: panic: %v\n%s", w.clock(), p, debug.Stack())
			}
			w.res.Err = v.error
		}
		w.res.Hash = w.hash.Sum64()
		res = w.res
	}()
	w.build()
	w.play()
	return w.res
}

// log adds a line to the trace.
func (w *world) log(format string, args ...any) {
	line := w.clock() + " " + fmt.Sprintf(format, args...)
	w.res.Trace = append(w.res.Trace, line)
	_, _ = w.hash.Write([]byte(line))
}

func (w *world) clock() string { return w.now.Format("15:04:05.000") }

func (w *world) count(what string) { w.res.Counts[what]++ }

func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Errorf("at %s: %s", w.clock(), fmt.Sprintf(format, args...))})
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.agenda, event{w.now.Add(d), w.seq, do})
}

// maxEvents is what no history comes near to.
const maxEvents = 1_000_000

// run lets everything happen that is due within d, and looks after each event whether the
// promises are kept.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.agenda) > 0 && !w.agenda[0].at.After(end) {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		if w.res.Events++; w.res.Events > maxEvents {
			w.fail("the world does not come to rest")
		}
		e.do()
		w.safe()
	}
	w.now = end
}

// luck is a source of randomness. Everybody and every fault has one of their own: what is
// left out of a history does not change the luck of the rest.
type luck struct{ *rand.Rand }

func (w *world) luck(whose string) luck {
	h := fnv.New64a()
	_, _ = h.Write([]byte(whose))
	return luck{rand.New(rand.NewPCG(w.res.Seed, h.Sum64()))}
}

// between draws a duration.
func (l luck) between(least, most time.Duration) time.Duration {
	return least + time.Duration(l.Int64N(int64(most-least)+1))
}

// one draws whether something that happens once in n times happens.
func (l luck) one(n int) bool { return l.IntN(n) == 0 }
