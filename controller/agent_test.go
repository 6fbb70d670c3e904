package controller_test

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// behaviour is what a stand-in agent does otherwise than told.
type behaviour struct {
	takeBack wire.Version // every activation of it is taken back by the node
	silent   bool         // it neither acts nor reports
	lie      bool         // it claims to serve what it was only told to stage
	own      bool         // an operator on the node has its orders left alone
}

// standIn is an agent that follows the desired documents of its region as far as its
// behaviour goes, with nothing behind it.
type standIn struct {
	id     wire.AgentID
	region wire.Region
	key    wire.PrivateKey
	trust  *wire.Trust
	bus    wire.AgentBus
	apps   []wire.App
	plane  string   // default "stand-in/1"
	traits []string // of the plane
	line   *timeline
	beat   time.Duration // between two reports without news
	wake   chan struct{}

	mu        sync.Mutex // guards all below
	does      behaviour
	seen      uint64
	running   map[wire.App]*wire.Running
	next      map[wire.App]*wire.Progress
	reports   uint64
	born      uint64
	backwards []string // orders that came with a lower sequence than one before
}

// run follows orders until ctx ends.
func (a *standIn) run(ctx context.Context) error {
	stop, err := a.bus.Notes(a.region, func([]byte) { a.poke() })
	if err != nil {
		return err
	}
	defer stop()
	beat := time.NewTicker(a.beat)
	defer beat.Stop()
	for {
		a.mu.Lock()
		silent := a.does.silent
		a.mu.Unlock()
		if !silent {
			a.look(ctx)
			a.report(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-beat.C:
		}
	}
}

func (a *standIn) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *standIn) behave(does behaviour) {
	a.mu.Lock()
	a.does = does
	a.mu.Unlock()
	a.poke()
}

// look reads the orders and follows them.
func (a *standIn) look(ctx context.Context) {
	envelope, err := a.bus.Want(ctx, a.region)
	if err != nil {
		return
	}
	d, err := a.trust.OpenDesired(envelope, a.region)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.backwards = append(a.backwards, err.Error())
		return
	}
	if d.Sequence < a.seen {
		a.backwards = append(a.backwards, fmt.Sprintf("%s: sequence %d after %d", a.id, d.Sequence, a.seen))
		return
	}
	if a.seen = d.Sequence; a.does.own {
		return
	}
	for _, app := range a.apps {
		a.follow(app, d.Apps[app])
	}
}

func (a *standIn) follow(app wire.App, o wire.Order) {
	n := o.Next
	if n != nil && a.epoch(app) < n.Epoch {
		p := &wire.Progress{Epoch: n.Epoch, Digest: n.Digest, Version: n.Version, State: wire.StateStaged}
		told := n.Phase == wire.PhaseActivate && n.Cohort.Has(a.id)
		switch {
		case told && a.does.takeBack == n.Version:
			p.State, p.Error = wire.StateReverted, "the probes failed"
		case told, a.does.lie:
			a.serve(app, n.Target)
			return
		}
		a.next[app] = p
	} else {
		delete(a.next, app)
	}
	if o.Base != nil && a.epoch(app) < o.Base.Epoch {
		a.serve(app, *o.Base)
	}
}

func (a *standIn) epoch(app wire.App) wire.Epoch {
	if r := a.running[app]; r != nil {
		return r.Epoch
	}
	return 0
}

func (a *standIn) serve(app wire.App, t wire.Target) {
	a.running[app] = &wire.Running{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version, State: wire.StateConfirmed, Since: time.Now().UTC()}
	delete(a.next, app)
	a.line.add(moment{what: "confirmed", app: app, region: a.region, agent: a.id, epoch: t.Epoch})
}

// document is the report an agent would send next.
func (a *standIn) document() *wire.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reports++
	r := &wire.Report{
		Fleet: a.trust.Fleet(), Region: a.region, Agent: a.id, Incarnation: a.born, Sequence: a.reports,
		At: time.Now().UTC(), Build: "stand-in", Desired: a.seen, Apps: make(map[wire.App]wire.AppReport),
	}
	for _, app := range a.apps {
		s := wire.AppReport{Plane: cmp.Or(a.plane, "stand-in/1"), Traits: a.traits}
		if run := a.running[app]; run != nil {
			c := *run
			s.Running = &c
		}
		if next := a.next[app]; next != nil {
			c := *next
			s.Next = &c
		}
		r.Apps[app] = s
	}
	return r
}

func (a *standIn) report(ctx context.Context) {
	payload, err := a.document().Encode()
	if err != nil {
		panic(err)
	}
	envelope, err := wire.Seal(wire.TypeReport, payload, a.key)
	if err != nil {
		panic(err)
	}
	_ = a.bus.Report(ctx, a.region, a.id, envelope) // the next beat says it again
}
