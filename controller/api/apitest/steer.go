package apitest

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// Fail makes every call fail with err from now on; nil ends that.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// Doubt makes Sure return err from now on; nil ends that.
func (f *Fake) Doubt(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt = err
}

// Changes returns what was changed so far, one line each.
func (f *Fake) Changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.changes)
}

// Show sets the film of the app's rollout. Each look at it takes the next picture; the
// last one stays.
func (f *Fake) Show(film []controller.AppView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.film, f.scene = film, nil
}

// Play shows a state of the real engine instead, with earlier rollouts for the history, and
// gives it the commands it is told: what that refuses is refused. Its clock stands still, and
// no agent follows any more.
func (f *Fake) Play(s rollout.State, past ...rollout.Rollout) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scene, f.past = &s, past
}

// Emit sends an event to whoever listens. Its ID is the next one.
func (f *Fake) Emit(e controller.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emit(e)
}

func (f *Fake) emit(e controller.Event) {
	e.ID, e.At = uint64(len(f.events)+1), Start.Add(time.Duration(len(f.events))*time.Second)
	f.events = append(f.events, e)
	for ch := range f.readers {
		ch <- e
	}
}

// CutOff ends every stream of events, as a controller does with a slow reader.
func (f *Fake) CutOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.readers {
		delete(f.readers, ch)
		close(ch)
	}
}

// Readers returns how many streams of events are open.
func (f *Fake) Readers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers)
}

// Tamper changes an entry of the audit log behind its hash.
func (f *Fake) Tamper() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audit[0].Text = "nothing happened"
}
