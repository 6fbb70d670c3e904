package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

const app wire.App = "edge-proxy"

// Result is how the history of one seed went.
type Result struct {
	Seed   uint64
	Err    error // the first promise that was broken
	Events int
	Hash   uint64         // of the whole trace
	Counts map[string]int // transition or fault → how often
	Trace  []string       // its last lines
}

// tail is how many lines of the trace a failure shows.
const tail = 40

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

// world is everything there is. now is the bus's clock, which controllers share.
type world struct {
	res    Result
	rnd    *rand.Rand
	now    time.Time
	agenda agenda
	seq    uint64
	trace  [tail]string
	lines  int

	on      faults // of the seed
	faulty  bool   // they may strike now
	regions []wire.Region
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
func Run(seed uint64) (res Result) {
	w := &world{
		res: Result{Seed: seed, Counts: make(map[string]int)},
		rnd: rand.New(rand.NewPCG(seed, 0xebb)),
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	hash := fnv.New64a()
	w.out(hash.Write)
	defer func() {
		if p := recover(); p != nil {
			v, ours := p.(violation)
			if !ours {
				panic(fmt.Sprintf("seed %d at %s: %v", seed, w.clock(), p))
			}
			w.res.Err = v.error
		}
		for i := max(0, w.lines-tail); i < w.lines; i++ {
			w.res.Trace = append(w.res.Trace, w.trace[i%tail])
		}
		w.res.Hash = hash.Sum64()
		res = w.res
	}()
	w.build()
	w.play()
	return w.res
}

// sink takes every line of the trace.
type sink func([]byte) (int, error)

func (w *world) out(s sink) { w.checks.sink = s }

// log adds a line to the trace.
func (w *world) log(format string, args ...any) {
	line := w.clock() + " " + fmt.Sprintf(format, args...)
	w.trace[w.lines%tail] = line
	w.lines++
	_, _ = w.checks.sink([]byte(line + "\n"))
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

// run lets everything happen that is due within d.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.agenda) > 0 && !w.agenda[0].at.After(end) {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		w.res.Events++
		e.do()
	}
	w.now = end
}

// between draws a duration.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rnd.Int64N(int64(most-least)+1))
}

// one draws whether something that happens once in n times happens.
func (w *world) one(n int) bool { return w.rnd.IntN(n) == 0 }

// strikes draws whether a fault strikes, once in n times.
func (w *world) strikes(f fault, n int) bool {
	if !w.faulty || !w.on[f] || !w.one(n) {
		return false
	}
	w.count("fault " + string(f))
	return true
}
