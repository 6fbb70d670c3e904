package lab_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// The NATS server loses what it has stored, in part or all, while a committed fleet runs.
// Agents serve on, the leader puts everything back from its own disk without being started
// again, and the next rollout is like any other.
func TestStoreLost(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(t *testing.T, n *natsServer, earlier string)
	}{
		{"wiped", func(t *testing.T, n *natsServer, _ string) {
			if err := os.RemoveAll(n.store); err != nil {
				t.Fatal(err)
			}
		}},
		{"set back", setBack},
		{"cut short", func(t *testing.T, n *natsServer, _ string) { cutShort(t, n.store) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNATS(t)
			l := pair(t, n, n.url)
			earlier := t.TempDir()
			n.kill()
			if err := os.CopyFS(earlier, os.DirFS(n.store)); err != nil {
				t.Fatal(err)
			}
			n.start()
			if err := l.Turn(t.Context(), l.Controllers[0]); err != nil { // it leads, and knows it again
				t.Fatal(err)
			}
			roll(t, l, "1.1.0")
			before, heads := n.control(), heads(t, l)

			load := lab.StartLoad(urls(l))
			defer load.Stop()
			n.kill()
			c.lose(t, n, earlier)
			n.start()
			restored(t, n, before)
			if err := l.Turn(t.Context(), l.Controllers[0]); err != nil {
				t.Fatal(err)
			}
			roll(t, l, "1.2.0")
			serves(t, load)
			risen(t, l, heads, 3)
			key := "app." + string(app)
			if was, is := journal(t, before)[key].Fence, journal(t, n.control())[key].Fence; is <= was {
				t.Errorf("the state is of the term %d, want one after %d", is, was)
			}
			if l.Controllers[0].Exited() || !l.Controllers[0].Leads(t.Context()) {
				t.Error("the leader has been replaced")
			}
		})
	}
}

// The NATS server is set back to when another controller led. The leader cannot tell that
// from a successor: it ends, and leads again soon after it is started again.
func TestStoreSetBackPastTheLease(t *testing.T) {
	n := startNATS(t)
	l := pair(t, n, n.url)
	earlier := t.TempDir()
	n.kill()
	if err := os.CopyFS(earlier, os.DirFS(n.store)); err != nil {
		t.Fatal(err)
	}
	n.start()
	next := l.Controllers[1]
	l.Controllers[0].Kill()
	if err := l.Turn(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	roll(t, l, "1.1.0")
	before, heads := n.control(), heads(t, l)
	load := lab.StartLoad(urls(l))
	defer load.Stop()
	n.kill()
	setBack(t, n, earlier)
	n.start()
	ends(t, next)
	if last := said(t, next); !strings.HasPrefix(last, "ebbgate: another controller has taken over, or the bus was set back: ") {
		t.Errorf("the leader ended with %q", last)
	}
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.Turn(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	rolled(t, l, "1.1.0") // still
	restored(t, n, before)
	roll(t, l, "1.2.0")
	serves(t, load)
	risen(t, l, heads, 3)
}

func setBack(t *testing.T, n *natsServer, earlier string) {
	t.Helper()
	if err := os.RemoveAll(n.store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(n.store, os.DirFS(earlier)); err != nil {
		t.Fatal(err)
	}
}

// cutShort halves every file of messages.
func cutShort(t *testing.T, store string) {
	t.Helper()
	cut := 0
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blk") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		cut++
		return os.Truncate(path, info.Size()/2)
	})
	if err != nil {
		t.Fatal(err)
	}
	if cut < 3 {
		t.Fatalf("%d files of messages were cut short, want one for each stream", cut)
	}
}

// heads returns the sequence of every region's orders.
func heads(t *testing.T, l *lab.Lab) map[wire.Region]uint64 {
	t.Helper()
	out, err := l.Run(t.Context(), "region", "ls", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var views []controller.RegionView
	if err := json.Unmarshal([]byte(out), &views); err != nil {
		t.Fatal(err)
	}
	all := make(map[wire.Region]uint64)
	for _, v := range views {
		all[v.Region] = v.Sequence
	}
	return all
}

// restored waits until the controllers' stream has everything that it had, or newer.
func restored(t *testing.T, n *natsServer, before map[string]jetstream.RawStreamMsg) {
	t.Helper()
	had := journal(t, before)
	eventually(t, "the stream to be restored", func() error {
		control, err := n.tryControl()
		if err != nil {
			return err
		}
		has := journal(t, control)
		for _, key := range slices.Sorted(maps.Keys(had)) {
			if has[key].Fence < had[key].Fence || has[key].Fence == had[key].Fence && has[key].Revision < had[key].Revision {
				return fmt.Errorf("%s is at %d/%d, was at %d/%d", key, has[key].Fence, has[key].Revision, had[key].Fence, had[key].Revision)
			}
		}
		for subject := range before {
			if region, ok := strings.CutPrefix(subject, wire.WantSubject("")); ok && string(control[subject].Data) != string(wantIn(t, has, wire.Region(region)).Envelope) {
				return fmt.Errorf("%s is not what the journal has", subject)
			}
		}
		if len(control[wire.SubjectLease].Data) == 0 {
			return fmt.Errorf("nobody has the lease")
		}
		return nil
	})
}

// risen checks that orders and epochs have gone on rising and that every agent follows.
func risen(t *testing.T, l *lab.Lab, before map[wire.Region]uint64, epoch wire.Epoch) {
	t.Helper()
	now := heads(t, l)
	for r, was := range before {
		if now[r] <= was {
			t.Errorf("the orders of %s are at %d, were at %d", r, now[r], was)
		}
	}
	eventually(t, "every agent to report the newest order", func() error {
		agents, err := l.Agents(t.Context())
		if err != nil {
			return err
		}
		for _, a := range agents {
			if a.Report == nil || a.Report.Desired != now[a.Region] || a.Report.Apps[app].Running.Epoch != epoch {
				return fmt.Errorf("%s reports %+v, want order %d and epoch %d", a.Agent, a.Report, now[a.Region], epoch)
			}
		}
		return nil
	})
}

// The leader, its disk and all that the NATS server had stored are gone at once. The
// standby has a copy: it knows what runs where and how it came there, and goes on.
func TestStandbyIsAllThatIsLeft(t *testing.T) {
	n := startNATS(t)
	l := pair(t, n, n.url)
	roll(t, l, "1.1.0")
	had, heads := journal(t, n.control()), heads(t, l)
	old, next := l.Controllers[0], l.Controllers[1]
	copied(t, next, had)
	load := lab.StartLoad(urls(l))
	defer load.Stop()

	old.Kill()
	n.kill()
	for _, dir := range []string{old.State, n.store} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	if err := l.Turn(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	rolled(t, l, "1.1.0") // still
	past, err := l.History(t.Context(), app)
	if err != nil || len(past) != 2 || past[0].Target.Version != "1.1.0" || past[1].Target.Version != "1.0.0" {
		t.Errorf("the standby knows the rollouts %+v, %v, want 1.1.0 and 1.0.0", past, err)
	}
	if err := l.WaitLive(t.Context(), len(l.Nodes)); err != nil {
		t.Fatal(err)
	}
	roll(t, l, "1.2.0")
	serves(t, load)
	risen(t, l, heads, 3)
	for key, r := range journal(t, n.control()) {
		if r.Fence < had[key].Fence {
			t.Errorf("%s is of the term %d, was of %d", key, r.Fence, had[key].Fence)
		}
	}

	// A controller without a disk comes to know everything again.
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	standsBy(t, old)
	copied(t, old, journal(t, n.control()))
}

// copied waits until a standby has a journal on its own disk.
func copied(t *testing.T, c *lab.Controller, records map[string]record) {
	t.Helper()
	eventually(t, "the standby to copy the journal", func() error {
		if err := c.Pause(); err != nil {
			return err
		}
		has := kept(t, c.State)
		if err := c.Wake(); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(records)) {
			if has[key].Fence != records[key].Fence || has[key].Revision != records[key].Revision || !bytes.Equal(has[key].Data, records[key].Data) {
				return fmt.Errorf("%s is at %d/%d, want %d/%d", key, has[key].Fence, has[key].Revision, records[key].Fence, records[key].Revision)
			}
		}
		return nil
	})
}

// urls returns where every node serves.
func urls(l *lab.Lab) (all []string) {
	for _, node := range l.Nodes {
		all = append(all, node.URL[app])
	}
	return all
}

// serves ends a load and checks that every request was answered well.
func serves(t *testing.T, load *lab.Load) {
	t.Helper()
	counts := load.Stop()
	t.Log(counts)
	if counts.Sent == 0 || counts.Status[http.StatusOK] != counts.Sent {
		t.Errorf("of %d requests %d were answered with 200: %v; the last error was %q", counts.Sent, counts.Status[http.StatusOK], counts.Status, counts.LastErr)
	}
}
