package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Load sends requests to every target, one after the other with a pause between, each on
// a fresh connection and none twice: a client that retries would hide what is lost.
type Load struct {
	wg   sync.WaitGroup
	stop context.CancelFunc

	mu     sync.Mutex // guards all below
	counts Counts
	down   map[string]bool // targets that were taken down on purpose
}

// Counts is what became of the requests.
type Counts struct {
	Sent    int            // all
	Failed  int            // no answer at all, though nobody had taken the target down
	Down    int            // no answer from a target that had been taken down
	Status  map[int]int    // status → answers
	Served  map[string]int // X-Ebbgate-Release → answers
	LastErr string
}

const loadPause = 20 * time.Millisecond

// StartLoad begins to send requests to the URLs.
func StartLoad(urls []string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{stop: cancel, down: make(map[string]bool), counts: Counts{Status: map[int]int{}, Served: map[string]int{}}}
	for _, url := range urls {
		l.wg.Go(func() { l.run(ctx, url) })
	}
	return l
}

func (l *Load) run(ctx context.Context, url string) {
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true}, // net/http retries on reused connections only
	}
	tick := time.NewTicker(loadPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		resp, err := client.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		l.count(url, resp, err)
	}
}

func (l *Load) count(url string, resp *http.Response, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Sent++
	switch {
	case err != nil && l.down[url]:
		l.counts.Down++
	case err != nil:
		l.counts.Failed++
		l.counts.LastErr = err.Error()
	default:
		l.counts.Status[resp.StatusCode]++
		l.counts.Served[resp.Header.Get("X-Ebbgate-Release")]++
	}
}

// Down says that a target has been taken down, or is back.
func (l *Load) Down(url string, down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down[url] = down
}

// Stop ends the load and returns what became of it.
func (l *Load) Stop() Counts {
	l.stop()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// String is one line for people.
func (c Counts) String() string {
	s := fmt.Sprintf("%d requests sent, %d without an answer", c.Sent, c.Failed)
	if c.Down > 0 {
		s += fmt.Sprintf(" (and %d to a node that had been killed)", c.Down)
	}
	bad := 0
	for status, n := range c.Status {
		if status >= 500 {
			bad += n
		}
	}
	return s + fmt.Sprintf(", %d answered 5xx", bad)
}
