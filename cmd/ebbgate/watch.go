package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// lookEvery is how often a rollout is looked at when no event says that it moved.
const lookEvery = time.Second

// watchRollout shows the rollout of view until it ends or the timeout (0: none) passes.
func watchRollout(ctx context.Context, c *cli, cl *api.Client, view controller.AppView, timeout time.Duration) error {
	if view.Summary.Rollout == nil {
		return fmt.Errorf("cannot watch %s: it has no rollout", view.App)
	}
	outer := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	w := &watcher{client: cl, last: view}
	var err error
	if live := isTerminal(c.out) && isTerminal(c.in) && os.Getenv("TERM") != "dumb" && (c.output == "table" || c.output == "wide"); live {
		err = w.picture(ctx, c)
	} else {
		err = w.lines(ctx, c)
	}
	r := w.last.Summary.Rollout
	switch {
	case errors.Is(err, errLookedAway):
		return nil
	case outer.Err() != nil:
		return outer.Err()
	case errors.Is(err, context.DeadlineExceeded):
		where := statusLine(w.last)
		if w.lost != nil {
			where = fmt.Sprintf("%s; at %s it was: %s", w.lost, moment(w.last.Summary.At, time.Now()), where)
		}
		return &exitError{exitTimeout, fmt.Errorf("cannot wait any longer than %s: %s", timeout, where)}
	case err != nil:
		return cannot(err, "watch %s", view.App)
	}
	if code := exitOf(r.Status); code != exitOK {
		return &exitError{code, errors.New(statusLine(w.last))}
	}
	return nil
}

// errLookedAway ends a watch whose operator has left the live view before the rollout ended.
var errLookedAway = errors.New("the operator has looked away")

// watcher follows one rollout. What it shows is what the controller says the state is;
// events only say when to look again, so a lost one costs a second and nothing else.
type watcher struct {
	client *api.Client
	last   controller.AppView // newest state; of one goroutine, as lost is
	lost   error              // why the newest look showed none
}

// errReplaced ends a watch whose rollout is no longer the app's, nor in its history.
var errReplaced = errors.New("another rollout of the app has begun")

// replaced takes from the history how the rollout ended that another one has followed.
func (w *watcher) replaced(ctx context.Context) error {
	past, err := w.client.History(ctx, w.last.App)
	if err != nil {
		return err
	}
	sum := *w.last.Summary.Rollout
	i := slices.IndexFunc(past, func(r rollout.Rollout) bool { return r.ID == sum.ID })
	if i < 0 || !past[i].Status.Ended() {
		return errReplaced
	}
	sum.Status, sum.Ended, sum.Reason = past[i].Status, past[i].Ended, cmp.Or(past[i].Halt, sum.Reason)
	w.last.Summary.Rollout, w.last.Rollout = &sum, &past[i]
	return nil
}

// look is one look at the rollout, or why there was none.
type look struct {
	view controller.AppView
	err  error
}

// follow calls show with each look, and event with each event of the app that is not a
// decision, until the rollout ends, ctx ends or show returns an error. Both are called
// from this goroutine.
func (w *watcher) follow(ctx context.Context, show func(look) error, event func(controller.Event)) error {
	app, id := w.last.App, w.last.Summary.Rollout.ID
	inner, cancel := context.WithCancel(ctx)
	events := make(chan controller.Event, 64)
	var refused error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(events)
		for inner.Err() == nil {
			err := w.client.Watch(inner, 0, func(e controller.Event) error {
				if e.App == app {
					select {
					case events <- e:
					case <-inner.Done():
					}
				}
				return nil
			})
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Status < 500 {
				refused = err
				return
			}
			select { // the first connection failed: looking goes on meanwhile
			case <-inner.Done():
			case <-time.After(lookEvery):
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	if err := show(look{view: w.last}); err != nil {
		return err
	}
	told := uint64(0) // newest decision that came as an event
	take := func(e controller.Event) {
		if e.Decision == nil {
			event(e)
			return
		}
		told = max(told, e.Decision.N)
	}
	for !w.last.Summary.Rollout.Status.Ended() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case e, open := <-events:
			if !open {
				return cmp.Or(refused, ctx.Err())
			}
			take(e)
			for len(events) > 0 {
				take(<-events)
			}
		}
		asked := time.Now()
		view, err := w.client.App(ctx, app)
		var said *api.Error
		switch {
		case ctx.Err() != nil:
			if time.Since(asked) > lookEvery { // an answer would have come by then
				w.lost = cmp.Or(w.lost, err)
			}
			return ctx.Err()
		case errors.As(err, &said) && said.Status < 500:
			return err
		case err == nil && (view.Summary.Rollout == nil || view.Summary.Rollout.ID != id):
			if err = w.replaced(ctx); errors.Is(err, errReplaced) {
				return err
			}
		case err == nil:
			w.last = view
		}
		w.lost = err
		if w.last.Summary.Rollout.Status.Ended() {
			// What happened before may still be on its way, with the decision behind it.
			late := time.After(lookEvery)
			for open := true; open && told < newest(w.last); {
				select {
				case e, more := <-events:
					if open = more; more {
						take(e)
					}
				case <-late:
					open = false
				}
			}
		}
		if err := show(look{w.last, err}); err != nil {
			return err
		}
	}
	return nil
}

// numbered is an event that shows its number if it has one: a decision that was read from
// the state has none.
type numbered struct {
	ID uint64 `json:"id,omitzero"`
	controller.Event
}

// lines writes one line for each decision and event; with -o json an event in JSON, with
// -o yaml a document.
func (w *watcher) lines(ctx context.Context, c *cli) error {
	var shown uint64
	said := "" // why there is nothing to show
	line := func(e controller.Event, kind string) error {
		switch c.output {
		case "yaml": // JSON is YAML, too
			if _, err := fmt.Fprintln(c.out, "---"); err != nil {
				return err
			}
			fallthrough
		case "json":
			enc := json.NewEncoder(c.out)
			enc.SetEscapeHTML(false)
			return enc.Encode(numbered{e.ID, e})
		}
		_, err := fmt.Fprintf(c.out, "%s  %-10s  %-9s  %s\n", e.At.UTC().Format("15:04:05.000"), orDash(string(e.Region)), kind, plain(e.Text))
		return err
	}
	return w.follow(ctx, func(l look) error {
		if l.err != nil {
			if why := oneLine(l.err.Error()); why != said {
				said = why
				c.progress("%s; trying again", why)
			}
			return nil
		}
		said = ""
		for _, d := range decisions(l.view) {
			if d.N > shown {
				shown = d.N
				if err := line(controller.Event{At: d.At, App: l.view.App, Region: d.Region, Kind: "decision", Text: d.Reason, Decision: &d}, string(d.Kind)); err != nil {
					return err
				}
			}
		}
		return nil
	}, func(e controller.Event) { _ = line(e, e.Kind) })
}

func decisions(v controller.AppView) []rollout.Decision {
	if v.Rollout == nil {
		return nil
	}
	return v.Rollout.Decisions
}

// newest is the number of the newest decision; 0: there is none.
func newest(v controller.AppView) (n uint64) {
	for _, d := range decisions(v) {
		n = max(n, d.N)
	}
	return n
}
