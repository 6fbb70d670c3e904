// Package feed hands announcements from a bus to one reader without ever making the
// bus wait. A reader that falls behind loses announcements, never memory, and is told
// so with a nil: every announcement is the whole of a state, so that a nil (go and
// read it) replaces any number of lost ones.
package feed

import "sync"

// Feed is a bounded queue with one reader.
type Feed struct {
	f     func([]byte)
	depth int
	wake  chan struct{} // holds one token while there may be something to do
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex // guards queue and missed
	queue  [][]byte
	missed bool
}

// New starts a feed that calls f from one goroutine and keeps at most depth
// announcements waiting.
func New(depth int, f func([]byte)) *Feed {
	d := &Feed{f: f, depth: depth, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go d.run()
	return d
}

// Push queues b, which the feed owns from now on, or drops it and notes the gap.
func (d *Feed) Push(b []byte) {
	d.mu.Lock()
	if len(d.queue) < d.depth {
		d.queue = append(d.queue, b)
	} else {
		d.missed = true
	}
	d.mu.Unlock()
	d.signal()
}

// Missed makes a nil follow whatever is queued.
func (d *Feed) Missed() {
	d.mu.Lock()
	d.missed = true
	d.mu.Unlock()
	d.signal()
}

// Stop ends the feed and waits for a call in progress. It is idempotent and must not
// be called from the reader.
func (d *Feed) Stop() {
	d.once.Do(func() { close(d.quit) })
	<-d.done
}

func (d *Feed) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Feed) run() {
	defer close(d.done)
	for {
		select {
		case <-d.quit:
			return
		case <-d.wake:
		}
		for {
			b, ok := d.next()
			if !ok {
				break
			}
			select {
			case <-d.quit:
				return
			default:
				d.f(b)
			}
		}
	}
}

// next returns the oldest announcement, or nil once when some were lost.
func (d *Feed) next() (b []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) > 0 {
		b, d.queue = d.queue[0], d.queue[1:]
		return b, true
	}
	ok, d.missed = d.missed, false
	return nil, ok
}
