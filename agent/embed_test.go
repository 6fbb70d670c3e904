package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/wire"
)

// elsewhere is a data plane of an embedder's own: something with content before any
// release, which it can have back.
type elsewhere struct {
	mu       sync.Mutex // guards the rest
	page     string
	bad      string // page that does not do well
	broken   int    // how many times Restore fails
	patience time.Duration
	cfg      dataplane.Config
}

func (e *elsewhere) open(cfg dataplane.Config) (dataplane.Driver, error) {
	e.cfg = cfg
	return e, nil
}

func (e *elsewhere) shows() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.page
}

func (e *elsewhere) Traits() dataplane.Traits {
	return dataplane.Traits{Name: "elsewhere", Look: time.Minute}
}
func (e *elsewhere) Validate(context.Context, dataplane.Release) error { return nil }
func (e *elsewhere) Arm(context.Context, dataplane.Release) error      { return nil }
func (e *elsewhere) Close() error                                      { return nil }

func (e *elsewhere) Activate(_ context.Context, r dataplane.Release) error {
	page, err := os.ReadFile(filepath.Join(r.Dir, "site", "index.html"))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.page = string(page)
	return err
}

func (e *elsewhere) Confirm(ctx context.Context, r dataplane.Release) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	end, _ := ctx.Deadline()
	e.patience = time.Until(end)
	page, err := os.ReadFile(filepath.Join(r.Dir, "site", "index.html"))
	if err == nil && e.page != string(page) {
		err = fmt.Errorf("shows %q", e.page)
	}
	return "shows it", err
}

func (e *elsewhere) Check(context.Context, dataplane.Release) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.page == e.bad {
		return errors.New("does not do well")
	}
	return nil
}

func (e *elsewhere) Restore(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken--; e.broken >= 0 {
		return errors.New("not now")
	}
	e.page = "by hand"
	return nil
}

// An embedder brings a data plane, and gets back what was there if the first release
// is taken back.
func TestADataPlaneOfTheEmbedders(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	e := &elsewhere{page: "by hand", bad: "one", broken: 1}
	cfg := f.config(bus)
	cfg.Apps = map[wire.App]dataplane.Config{testApp: {Open: e.open}}
	a, _ := run(t, cfg)
	v1, v2 := at(f.publish(site("1", "one")), 1), at(f.publish(site("2", "two")), 2)
	f.order(activate(nil, v1))
	eventually(t, "what was there before", func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateReverted && e.shows() == "by hand"
	})
	f.order(activate(nil, v2))
	eventually(t, "two", runs(a, 2, wire.StateConfirmed))
	if r := a.apps[0].report(); r.Plane != "elsewhere" || e.shows() != "two" {
		t.Errorf("%s shows %q", r.Plane, e.shows())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.patience < 50*time.Second {
		t.Errorf("a look may take %s, want the minute that the data plane asks for", e.patience)
	}
	if e.cfg.App != testApp || e.cfg.Region != testRegion || !filepath.IsAbs(e.cfg.Dir) || e.cfg.Logger == nil {
		t.Errorf("opened with %+v", e.cfg)
	}
}
