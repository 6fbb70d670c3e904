package agent

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	reportPause = 100 * time.Millisecond // least time between two reports
	retryLeast  = time.Second
	retryMost   = 30 * time.Second
	reportTime  = 20 * time.Second // one attempt
)

// reporter tells the controller how the node is: the whole state at every change and at
// every heartbeat, until it is stored. What is sent again is not what failed to be sent
// but what is true by then.
type reporter struct {
	a     *Agent
	dirty chan struct{}
	retry chan struct{} // the connection is back
	// sequence is used by run alone.
	sequence uint64
}

func newReporter(a *Agent) *reporter {
	return &reporter{a: a, dirty: make(chan struct{}, 1), retry: make(chan struct{}, 1)}
}

// changed asks for a report soon.
func (r *reporter) changed() { poke(r.dirty) }

func (r *reporter) run(ctx context.Context) error {
	for _, w := range r.a.apps {
		select {
		case <-w.known: // before, the report would say that the node serves nothing
		case <-ctx.Done():
			return nil
		}
	}
	wait := time.Duration(0)
	for {
		if !r.pause(ctx, wait) {
			return nil
		}
		err := r.send(ctx)
		if err == nil {
			wait = 0
			r.a.cfg.trace("report stored")
			if !sleep(ctx, reportPause) {
				return nil
			}
			// An order makes a whole fleet report in one instant: it must not go on in step.
			beat := r.a.cfg.Heartbeat.Std()
			heartbeat := time.NewTimer(beat/2 + rand.N(beat/2+1))
			select {
			case <-ctx.Done():
			case <-r.dirty:
			case <-heartbeat.C:
			}
			heartbeat.Stop()
			continue
		}
		if wait = min(2*wait, retryMost); wait == 0 {
			wait = retryLeast
		}
		if !errors.Is(err, wire.ErrDisconnected) && ctx.Err() == nil {
			r.a.cfg.Logger.Warn("report not stored", "err", err)
		}
	}
}

// pause waits before a report is tried again, less if the connection comes back.
func (r *reporter) pause(ctx context.Context, wait time.Duration) bool {
	if wait == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait/2 + rand.N(wait))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.retry:
	case <-t.C:
	}
	return ctx.Err() == nil
}

func (r *reporter) send(ctx context.Context) error {
	// Drained first: a change during the build leads to another report.
	select {
	case <-r.dirty:
	default:
	}
	r.sequence++
	rep := r.a.report(r.sequence)
	envelope, err := r.seal(rep)
	if err != nil {
		return err
	}
	if len(envelope) > wire.MaxReport {
		rep.Members = nil // a hint; the rest is bounded by the number of apps
		if envelope, err = r.seal(rep); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	return r.a.bus.Report(ctx, r.a.cfg.Region, r.a.cfg.ID, envelope)
}

func (r *reporter) seal(rep *wire.Report) ([]byte, error) {
	payload, err := rep.Encode()
	if err != nil {
		return nil, err
	}
	return wire.Seal(wire.TypeReport, payload, r.a.key)
}

// report returns the state of the node as it is now.
func (a *Agent) report(sequence uint64) *wire.Report {
	rep := &wire.Report{
		Fleet: a.trust.Fleet(), Region: a.cfg.Region, Agent: a.cfg.ID,
		Incarnation: a.incarnation, Sequence: sequence, At: time.Now().UTC(),
		Build: a.cfg.Build, Apps: make(map[wire.App]wire.AppReport), Members: a.members(),
	}
	if len(rep.Members) > 1024 {
		rep.Members = rep.Members[:1024]
	}
	for _, w := range a.apps {
		rep.Apps[w.name] = w.report()
	}
	a.orders.mu.Lock()
	defer a.orders.mu.Unlock()
	rep.Refused = maps.Clone(a.orders.refused)
	if a.orders.desired != nil {
		rep.Desired = a.orders.desired.Sequence
	}
	return rep
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
