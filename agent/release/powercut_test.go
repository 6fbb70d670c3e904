package release

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/internal/disktest"
	"github.com/ebbgate/ebbgate/wire"
)

// generation returns the n-th release.
func generation(n int) (wire.Digest, tree) {
	tr := make(tree)
	for i := range 12 {
		tr[fmt.Sprintf("d%d/f%d", i%3, i)] = strings.Repeat(fmt.Sprintf("%d.%d ", n, i), 500*(i+1))
	}
	return wire.DigestOf([]byte(fmt.Sprint("generation ", n))), tr
}

// careful writes a release and makes it current as the agent does.
func careful(dir string, n int) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := store(s, n); err != nil {
		return err
	}
	d, _ := generation(n)
	return s.Switch(d)
}

// store writes a release and no more.
func store(s *Store, n int) error {
	d, tr := generation(n)
	w, err := s.Write(d, tr.files())
	if err != nil {
		return err
	}
	for _, p := range wire.Keys(tr) {
		if err := w.Put(wire.DigestOf([]byte(tr[p])), strings.NewReader(tr[p])); err != nil {
			w.Abort()
			return err
		}
	}
	return w.Commit()
}

// careless does the same without a single sync.
func careless(dir string, n int) error {
	d, tr := generation(n)
	tmp, to := filepath.Join(dir, releases, tmpPrefix+d.String()), filepath.Join(releases, d.String())
	for p, data := range tr {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tmp, p)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, p), []byte(data), 0o644); err != nil {
			return err
		}
	}
	link := filepath.Join(dir, tmpPrefix+current)
	return errors.Join(os.Rename(tmp, filepath.Join(dir, to)), os.Symlink(to, link), os.Rename(link, filepath.Join(dir, current)))
}

// cuts writes releases and cuts the power in the middle, again and again. It returns how
// often a release was torn, or one that had been acknowledged was not current any more.
func cuts(t *testing.T, cycles int, most time.Duration, write func(dir string, n int) error) (torn, lost int) {
	d := disktest.New(t)
	dir := filepath.Join(d.Dir, "app")
	check(t, os.MkdirAll(filepath.Join(dir, releases), 0o755))
	n := 0
	for range cycles {
		check(t, os.RemoveAll(dir))
		check(t, os.MkdirAll(filepath.Join(dir, releases), 0o755))
		acked := make(chan int, 100000)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				n++
				if write(dir, n) != nil {
					return
				}
				acked <- n
			}
		}()
		first := <-acked
		time.Sleep(rand.N(most)) // anywhere in what follows
		d.Cut()
		<-ended
		d.Restore()
		last := first
		for len(acked) > 0 {
			last = <-acked
		}
		s, err := Open(dir)
		check(t, err)
		cur, err := s.Current()
		check(t, err)
		for i := first; i <= n; i++ {
			digest, tr := generation(i)
			if s.Has(digest) && s.Verify(digest, tr.files()) != nil {
				torn++
				break
			}
		}
		want, _ := generation(last)
		under, _ := generation(last + 1) // was under way
		if cur != want && cur != under {
			lost++
		}
		check(t, s.Close())
	}
	return torn, lost
}

func TestPowerCuts(t *testing.T) {
	const cycles = 12
	if torn, lost := cuts(t, cycles, 60*time.Millisecond, careful); torn+lost > 0 {
		t.Errorf("in %d power cuts %d releases torn, %d acknowledged ones lost", cycles, torn, lost)
	}
	// The control: a test that passes without the syncs proves nothing.
	if torn, lost := cuts(t, 5, 1500*time.Millisecond, careless); torn+lost == 0 {
		t.Errorf("nothing was lost without a single sync: the cuts are none")
	} else {
		t.Logf("without a single sync: %d of 5 torn, %d lost", torn, lost)
	}
}

// What was acknowledged is there when the power goes in the very next moment, before
// anything else that happens on the disk could have carried it along.
func TestPowerCutAfterAnAcknowledgement(t *testing.T) {
	d := disktest.New(t)
	dir := filepath.Join(d.Dir, "app")
	check(t, careful(dir, 1))
	one, _ := generation(1)
	two, content := generation(2)
	// after does something, cuts the power at once, and returns what is then current.
	after := func(do func(s *Store) error) (cur wire.Digest, s *Store) {
		t.Helper()
		s, err := Open(dir)
		check(t, err)
		check(t, do(s))
		d.Cut()
		check(t, s.Close())
		d.Restore()
		s, err = Open(dir)
		check(t, err)
		t.Cleanup(func() { s.Close() })
		cur, err = s.Current()
		check(t, err)
		return cur, s
	}
	var s *Store
	for _, step := range []struct {
		name string
		do   func(s *Store) error
		want wire.Digest
	}{
		{"a switch", func(s *Store) error { return errors.Join(store(s, 2), s.Switch(two)) }, two},
		{"a switch back", func(s *Store) error { return s.Switch(one) }, one},
		{"a switch to nothing", func(s *Store) error { return s.Switch(wire.Digest{}) }, wire.Digest{}},
		{"a switch from nothing", func(s *Store) error { return s.Switch(two) }, two},
	} {
		var cur wire.Digest
		if cur, s = after(step.do); cur != step.want {
			t.Errorf("after %s and a power cut %s is current, want %s", step.name, cur.Short(), step.want.Short())
		}
		check(t, s.Close())
	}
	_, s = after(func(s *Store) error { return store(s, 3) })
	three, last := generation(3)
	check(t, s.Verify(three, last.files()))
	check(t, s.Verify(two, content.files()))
	check(t, s.Close())

	// The control: the same switch without the sync is lost.
	if cur, _ := after(func(s *Store) error {
		check(t, s.Switch(two))
		link := filepath.Join(dir, tmpPrefix+current)
		return errors.Join(os.Symlink(filepath.Join(releases, one.String()), link), os.Rename(link, filepath.Join(dir, current)))
	}); cur != two {
		t.Errorf("a switch without a sync was not lost: the cuts are none")
	}
}
