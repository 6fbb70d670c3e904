package controller

import (
	"context"
	"sync"
	"time"
)

// keptEvents is how far back a reader can resume; readerBuffer how far behind it may be.
const (
	keptEvents   = 4096
	readerBuffer = 256
)

// feed keeps the newest events and hands those that may be told to readers. A reader that
// cannot keep up is closed: it resumes by the id of the last event it saw.
type feed struct {
	mu      sync.Mutex // guards all below
	next    uint64
	told    uint64  // readers have been told of all before
	kept    []Event // by id
	readers map[chan Event]bool
	closed  bool
}

// newFeed numbers events from the current time in microseconds, so that ids go on
// rising after a restart.
func newFeed() *feed {
	first := uint64(time.Now().UnixMicro())
	return &feed{next: first, told: first, readers: make(map[chan Event]bool)}
}

// add keeps an event until it may be told.
func (f *feed) add(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.ID, f.next = f.next, f.next+1
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	if f.kept = append(f.kept, e); len(f.kept) > keptEvents {
		f.kept = append([]Event(nil), f.kept[keptEvents/2:]...)
	}
}

// head returns the id of the event to come.
func (f *feed) head() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// tell tells the readers of all events before one.
func (f *feed) tell(before uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.kept {
		if e.ID < f.told || e.ID >= before {
			continue
		}
		for ch := range f.readers {
			select {
			case ch <- e:
			default:
				delete(f.readers, ch)
				close(ch)
			}
		}
	}
	f.told = max(f.told, before)
}

// read returns the kept events after one that have been told and then every one that is, until
// ctx ends. After zero means from now on.
func (f *feed) read(ctx context.Context, after uint64) <-chan Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var backlog []Event
	for _, e := range f.kept {
		if after > 0 && e.ID > after && e.ID < f.told {
			backlog = append(backlog, e)
		}
	}
	ch := make(chan Event, len(backlog)+readerBuffer)
	for _, e := range backlog {
		ch <- e
	}
	if f.closed {
		close(ch)
		return ch
	}
	f.readers[ch] = true
	context.AfterFunc(ctx, func() { f.drop(ch) })
	return ch
}

func (f *feed) drop(ch chan Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers[ch] {
		delete(f.readers, ch)
		close(ch)
	}
}

// close ends every reader.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for ch := range f.readers {
		delete(f.readers, ch)
		close(ch)
	}
}
