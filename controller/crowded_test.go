package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// scales weighs the documents that are ordered.
type scales struct {
	wire.ControllerBus
	trust          *wire.Trust
	largest, named atomic.Int64 // bytes, and agents by name
}

func (s *scales) PutWant(ctx context.Context, f wire.Fence, r wire.Region, envelope []byte) error {
	d, err := s.trust.OpenDesired(envelope, r)
	if err != nil {
		return err
	}
	named := 0
	for _, o := range d.Apps {
		if o.Next != nil {
			named += len(o.Next.Cohort.Named)
		}
	}
	s.largest.Store(max(s.largest.Load(), int64(len(envelope))))
	s.named.Store(max(s.named.Load(), int64(named)))
	return s.ControllerBus.PutWant(ctx, f, r, envelope)
}

// crowd is a region of twenty agents with long names that serve three apps, and whose documents
// are bounded more narrowly than others.
func crowd(t *testing.T, document *int) (*fleet, *driver, *scales) {
	t.Helper()
	weigh := &scales{}
	s := spec{
		regions: map[wire.Region][]wire.AgentID{}, apps: map[wire.AgentID][]wire.App{},
		config: func(c *controller.Config) {
			weigh.ControllerBus, weigh.trust = c.Bus, c.Trust
			*c = controller.WithDocument(*c, *document)
			c.Bus = weigh
		},
	}
	for i := range 20 {
		id := wire.AgentID(fmt.Sprintf("an-edge-node-with-a-name-of-some-fifty-characters-%02d", i))
		s.regions[ams] = append(s.regions[ams], id)
		s.apps[id] = crowdApps
	}
	f := newFleet(t, s)
	return f, f.drive(), weigh
}

var crowdApps = []wire.App{"one", "three", "two"}

// bakes starts a rollout and waits until all agents have switched.
func (f *fleet) bakes(d *driver, info controller.BundleInfo) {
	f.t.Helper()
	p := plan([]wire.Region{ams})
	p.MaxUnavailable, p.Waves[0].Bake = rollout.Count(19), wire.Duration(time.Hour)
	f.begin(d, controller.StartRequest{App: info.App, Version: info.Version, Plan: p})
	eventually(f.t, func() error {
		v, err := d.App(f.t.Context(), info.App)
		must(f.t, err)
		if phase := v.Summary.Regions[0].Phase; phase != rollout.PhaseBaking {
			return fmt.Errorf("%s is %s", info.App, phase)
		}
		return nil
	})
}

// Apps that go back at once name the agents that run something else, in one document. Whom it has
// no room for is not named, and all of them get back.
func TestNamesFitTheDocument(t *testing.T) {
	t.Parallel()
	most := 5000
	f, d, weigh := crowd(t, &most)
	second := make(map[wire.App]controller.BundleInfo)
	for _, app := range crowdApps {
		f.roll(d, f.publish(d, site(app, "1", "a", "b")), plan([]wire.Region{ams}), "done")
		second[app] = f.publish(d, site(app, "2", "a2", "b"))
	}
	for _, app := range crowdApps {
		f.bakes(d, second[app])
	}
	for _, app := range crowdApps {
		_, err := d.Command(t.Context(), app, "abort", rollout.Of{}, "op")
		must(t, err)
	}
	for _, app := range crowdApps {
		f.ends(d, second[app], "aborted")
	}
	if n := weigh.largest.Load(); n > int64(most) {
		t.Errorf("a document has %d bytes", n)
	}
	if n := weigh.named.Load(); n < 5 || n >= 60 {
		t.Errorf("%d agents were named at once, want some of 60 and not all", n)
	}
}

// An app whose order does not fit stays where it is and says why; neither the controller nor other
// apps end with it. No other rollout begins there.
func TestOrderTooLarge(t *testing.T) {
	t.Parallel()
	most := 0
	f, d, _ := crowd(t, &most)
	f.roll(d, f.publish(d, site("one", "1", "a", "b")), plan([]wire.Region{ams}), "done")
	two := f.publish(d, site("one", "2", "a2", "b"))
	f.publish(d, site("two", "1", "a", "b"))
	p := canary([]wire.Region{ams})
	p.Waves[0].Steps[0].Bake = wire.Duration(2 * time.Second)
	f.begin(d, controller.StartRequest{App: "one", Version: "2", Plan: p})
	eventually(t, func() error {
		v, err := d.App(t.Context(), "one")
		must(t, err)
		if v.Summary.Regions[0].BakesUntil.IsZero() {
			return errors.New("does not bake")
		}
		return nil
	})
	most = 100
	d = f.bounce(d, f.dir, func() {})
	eventually(t, func() error {
		v, err := d.App(t.Context(), "one")
		must(t, err)
		if !strings.Contains(v.Doubt, "cannot order region ams: document too large: ") {
			return fmt.Errorf("it is not told: %q", v.Doubt)
		}
		return nil
	})
	_, err := d.Start(t.Context(), controller.StartRequest{App: "two", Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	if wantErr(t, "a rollout where there is no room", err, controller.ErrConflict); err == nil || !strings.Contains(err.Error(), "of 100 bytes: wait until a rollout there has ended") {
		t.Errorf("it is refused with %v", err)
	}
	most = 0
	d = f.bounce(d, f.dir, func() {})
	f.ends(d, two, "done")
	if v, err := d.App(t.Context(), "one"); err != nil || v.Doubt != "" {
		t.Errorf("afterwards it says %q, %v", v.Doubt, err)
	}
}
