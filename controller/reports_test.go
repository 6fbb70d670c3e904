package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// What does not verify changes nothing, and the log says why.
func TestReportsRefused(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	for _, id := range []wire.AgentID{"a1", "a2"} {
		f.agents[id].behave(behaviour{silent: true})
	}
	before, err := d.Agents(t.Context(), ams)
	must(t, err)
	state, err := d.App(t.Context(), edge)
	must(t, err)

	seal := func(key wire.PrivateKey, typ string, change func(*wire.Report)) []byte {
		r := f.agents["a1"].document()
		r.Sequence += 1000
		r.Apps[edge] = wire.AppReport{Plane: "evil/1"}
		change(r)
		payload, err := wire.EncodeJSON(r)
		must(t, err)
		envelope, err := wire.Seal(typ, payload, key)
		must(t, err)
		return envelope
	}
	same := func(*wire.Report) {}
	a1, a2 := f.agents["a1"].key, f.agents["a2"].key
	for i, test := range []struct {
		name     string
		envelope []byte
	}{
		{"garbage", []byte("\x00\xff{")},
		{"not an envelope", []byte(`{"payload":"x"}`)},
		{"another agent's key", seal(a2, wire.TypeReport, same)},
		{"another type", seal(a1, wire.TypeBeacon, same)},
		{"another agent", seal(a1, wire.TypeReport, func(r *wire.Report) { r.Agent = "a2" })},
		{"another region", seal(a1, wire.TypeReport, func(r *wire.Report) { r.Region = fra })},
		{"another fleet", seal(a1, wire.TypeReport, func(r *wire.Report) { r.Fleet = "other" })},
		{"a state that does not exist", seal(a1, wire.TypeReport, func(r *wire.Report) {
			r.Apps[edge] = wire.AppReport{Running: &wire.Running{Epoch: 9, Digest: wire.DigestOf(nil), State: "splendid"}}
		})},
	} {
		bus := f.bus.Agent(wire.AgentID(fmt.Sprintf("forger-%d", i)))
		must(t, bus.Report(t.Context(), ams, "a1", test.envelope))
		eventually(t, func() error {
			if got := strings.Count(d.log.String(), "a report was refused"); got != i+1 {
				return fmt.Errorf("%s: %d reports were refused, want %d", test.name, got, i+1)
			}
			return nil
		})
	}
	stranger := seal(newKey(t), wire.TypeReport, func(r *wire.Report) { r.Agent = "a9" })
	must(t, f.bus.Agent("forger").Report(t.Context(), ams, "a9", stranger))
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "not enrolled") {
			return errors.New("nothing about the stranger")
		}
		return nil
	})

	after, err := d.Agents(t.Context(), ams)
	must(t, err)
	for i := range before {
		if len(after) != len(before) || after[i].Report.Sequence < before[i].Report.Sequence || after[i].Report.Apps[edge].Plane != "stand-in/1" {
			t.Errorf("agents were %+v, are %+v", before[i], after[i])
		}
	}
	if now, err := d.App(t.Context(), edge); err != nil || now.Summary.Revision != state.Summary.Revision {
		t.Errorf("the app moved from revision %d to %d, %v", state.Summary.Revision, now.Summary.Revision, err)
	}
}

// slowWants is a bus that answers what was ordered only when reports have come in, or
// have had the time to.
type slowWants struct {
	wire.ControllerBus
	taken chan struct{} // a value for every report that was taken or dropped
}

func (b slowWants) Reports(ctx context.Context, f func(wire.Region, wire.AgentID, []byte, time.Time)) error {
	return b.ControllerBus.Reports(ctx, func(r wire.Region, a wire.AgentID, envelope []byte, at time.Time) {
		f(r, a, envelope, at)
		b.taken <- struct{}{}
	})
}

func (b slowWants) Want(ctx context.Context, r wire.Region) ([]byte, error) {
	select {
	case <-b.taken:
	case <-time.After(300 * time.Millisecond): // taken in right, they wait for this answer
	}
	return b.ControllerBus.Want(ctx, r)
}

// Reports that the bus kept are taken in when a controller begins to lead, however long
// it takes to begin: it does not wait for the next ones.
func TestReportsKept(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), beat: time.Hour})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	must(t, d.stop())
	f.agents["a1"].behave(behaviour{silent: true}) // an order would make it report again
	f.spec.config = func(c *controller.Config) { c.Bus = slowWants{c.Bus, make(chan struct{}, 100)} }
	d = f.launch("main", f.dir)
	d.leads()
	eventually(t, func() error {
		agents, err := d.Agents(t.Context(), ams)
		must(t, err)
		for _, a := range agents {
			if a.Report == nil || a.Report.Apps[edge].Running == nil {
				return fmt.Errorf("%s has not been heard of", a.Agent)
			}
		}
		return nil
	})
}

// A report that the bus stores once more, since its agent had heard no answer, says that the
// agent is there; nothing else of it is news, and an older one stored later is none.
func TestReportStoredAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	f.agents["a1"].behave(behaviour{silent: true})
	bus := f.bus.Agent("again")
	store := func(sequence uint64) {
		r := f.agents["a1"].document()
		r.Sequence = sequence
		payload, err := wire.EncodeJSON(r)
		must(t, err)
		envelope, err := wire.Seal(wire.TypeReport, payload, f.agents["a1"].key)
		must(t, err)
		must(t, bus.Report(t.Context(), ams, "a1", envelope))
	}
	heard := func() (at time.Time, sequence uint64) {
		agents, err := d.Agents(t.Context(), ams)
		must(t, err)
		return agents[0].Reported, agents[0].Report.Sequence
	}
	var last time.Time
	for range 2 {
		store(1000)
		eventually(t, func() error {
			at, sequence := heard()
			v, err := d.App(t.Context(), edge)
			must(t, err)
			if engine := v.Summary.Regions[0].Agents[0].Stored; sequence != 1000 || !at.After(last) || !engine.Equal(at) {
				return fmt.Errorf("report %d was stored at %s, and at %s for the engine, want 1000 after %s", sequence, at, engine, last)
			}
			last = at
			return nil
		})
	}
	store(999)
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "older than its last one") {
			return errors.New("nothing about an older report")
		}
		return nil
	})
	if at, sequence := heard(); sequence != 1000 || !at.Equal(last) {
		t.Errorf("after an older report, %d was stored at %s, want 1000 at %s", sequence, at, last)
	}
}

// A reader of events goes on where it was.
func TestEventsResume(t *testing.T) {
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	all, err := d.Events(t.Context(), 0)
	must(t, err)
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")

	read := func(ch <-chan controller.Event) (got []controller.Event) {
		for {
			select {
			case e := <-ch:
				if got = append(got, e); e.Decision != nil && e.Decision.Kind == "done" {
					return got
				}
			case <-time.After(patience):
				t.Fatalf("no end after %d events", len(got))
			}
		}
	}
	first := read(all)
	kinds := make(map[string]bool)
	for i, e := range first {
		kinds[e.Kind] = true
		if i > 0 && e.ID <= first[i-1].ID {
			t.Errorf("event %d after %d", e.ID, first[i-1].ID)
		}
	}
	if !kinds["bundle"] || !kinds["decision"] || !kinds["purge"] {
		t.Errorf("kinds of event are %v", kinds)
	}
	middle := len(first) / 2
	again, err := d.Events(t.Context(), first[middle].ID)
	must(t, err)
	rest := read(again)
	if len(rest) != len(first)-middle-1 || rest[0].ID != first[middle+1].ID {
		t.Errorf("resumed with %d events, want %d", len(rest), len(first)-middle-1)
	}
}
