package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

// recover finds out what is on the node and what was under way when the agent last
// ended. It changes nothing that serves: finishing, going back and bringing the data
// plane up are steps of the plan, which comes next and needs no network for them.
func (w *app) recover() error {
	w.a.cfg.trace("recovering")
	st, err := w.a.store.App(w.name)
	if err != nil {
		return err
	}
	w.state = st
	if crashes := st.Crashes; crashes > 0 || !w.a.clean || st.Switch != nil {
		err := w.change("started", func(s *plan.State) { s.Started(time.Now(), w.a.clean, plan.CrashWindow) })
		if errors.Is(err, release.ErrFull) {
			w.log.Warn("a crash could not be counted", "err", err)
		} else if err != nil {
			return err
		}
	}
	on, err := w.rel.List()
	if err != nil {
		return err
	}
	// What was switched to was valid. Anything else on the disk may be what the data plane
	// refused: it is staged anew, which needs no network and ends with its validator.
	switched := w.state.Keep()
	for _, d := range on {
		if _, err := w.a.store.Manifest(d); err == nil && slices.Contains(switched, d) {
			w.staged[d] = true
		}
	}
	for _, r := range w.vital() {
		if err := w.whole(r.Digest); err != nil {
			w.log.Error("release is not whole", "version", r.Version, "err", err)
		}
	}
	if w.state.Running != nil {
		// The data plane may have died with the agent, or not have been told everything.
		w.drift = "has not been asked since the agent started"
		if _, err := w.release(*w.state.Running); err != nil {
			w.log.Error("the manifest of the running release cannot be read", "err", err)
		}
	}
	w.showNow()
	return nil
}

// vital returns the releases that may be put to service before anything else happens.
func (w *app) vital() (rs []plan.Release) {
	st := &w.state
	if st.Running != nil {
		rs = append(rs, *st.Running)
	}
	if st.Switch != nil {
		rs = append(rs, st.Switch.To)
	}
	if st.Back != nil && st.Back.To != nil {
		rs = append(rs, *st.Back.To)
	}
	return rs
}

// whole reads a release back from the disk; one that is not what its manifest says no
// longer counts as staged.
func (w *app) whole(d wire.Digest) error {
	s, err := w.a.store.Manifest(d)
	if err == nil {
		var m *wire.Manifest
		if m, err = wire.DecodeManifest(s.Payload); err == nil {
			err = w.rel.Verify(d, m.For(w.a.cfg.Region))
		}
	}
	if err != nil {
		delete(w.staged, d)
		return err
	}
	w.staged[d] = true
	return nil
}
