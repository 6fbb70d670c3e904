package sim

import (
	"runtime"
	"sync"
)

// Sweep is what a run of histories came to.
type Sweep struct {
	Seeds, Events int
	Counts        map[string]int // transition or fault → how often
	Bad           *Result        // the first history in order of seeds that broke a promise
}

// Play plays n histories from the seed first on, on all cores. done, which may be nil, is
// told one by one how many have been played.
func Play(first uint64, n int, shape Shape, done func(int)) Sweep {
	var (
		mu    sync.Mutex // guards all below
		next  int
		sweep = Sweep{Counts: make(map[string]int)}
		wait  sync.WaitGroup
	)
	take := func() (seed uint64, more bool) {
		mu.Lock()
		defer mu.Unlock()
		seed = first + uint64(next)
		if next >= n || sweep.Bad != nil && seed > sweep.Bad.Seed {
			return 0, false
		}
		next++
		return seed, true
	}
	bring := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		sweep.Seeds++
		sweep.Events += r.Events
		for what, times := range r.Counts {
			sweep.Counts[what] += times
		}
		if r.Err != nil && (sweep.Bad == nil || r.Seed < sweep.Bad.Seed) {
			sweep.Bad = &r
		}
		if done != nil {
			done(sweep.Seeds)
		}
	}
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for seed, more := take(); more; seed, more = take() {
				bring(Run(seed, shape))
			}
		})
	}
	wait.Wait()
	return sweep
}
