package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// A record that is larger than a message of the bus is packed there: orders go on, and whoever
// leads next has it.
func TestLargeRecord(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		*c = controller.WithSilence(controller.WithLosses(*c, 20*time.Millisecond), 3*time.Second)
	}})
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	past := rollout.Rollout{ID: "20260101-000000-000-abcdef", Plan: rollout.DefaultPlan([]wire.Region{ams}), Before: map[wire.Region]wire.Target{}}
	for i := range 8000 {
		past.Before[wire.Region(fmt.Sprint("region-", i))] = wire.Target{Digest: wire.DigestOf([]byte("1")), Version: "1"}
	}
	must(t, d.Keep(t.Context(), controller.HistoryKey(edge, past.ID), past))
	if plain, err := d.JournalRecord(controller.HistoryKey(edge, past.ID)); err != nil || len(plain) <= wire.MaxRecord {
		t.Fatalf("a record of %d bytes is none of those that are tested: %v", len(plain), err)
	}
	f.roll(d, f.publish(d, site(edge, "2", "a2", "b")), plan([]wire.Region{ams}), "done")
	d.settles()
	time.Sleep(100 * time.Millisecond) // the bus is compared with the journal meanwhile
	if strings.Contains(d.log.String(), "the bus has lost") || strings.Contains(d.log.String(), "an effect failed") {
		t.Error("a packed record is not known again, or was not taken")
	}
	next := f.launch("other", t.TempDir()) // with nothing but what the bus has
	eventually(t, func() error {
		plain, err := next.JournalRecord(controller.HistoryKey(edge, past.ID))
		if err == nil && len(plain) <= wire.MaxRecord {
			err = fmt.Errorf("the standby has %d bytes", len(plain))
		}
		return err
	})
	must(t, d.stop())
	d = next
	d.leads()
	all, err := d.History(t.Context(), edge)
	must(t, err)
	if last := all[len(all)-1]; last.ID != past.ID || !cmp.Equal(last.Before, past.Before) {
		t.Errorf("the record of %s has become one of %s with %d regions", past.ID, last.ID, len(last.Before))
	}
	if strings.Contains(d.log.String(), "cannot be read") {
		t.Error("the next leader could not read a record")
	}
	f.roll(d, f.publish(d, site(edge, "3", "a3", "b")), plan([]wire.Region{ams}), "done")
}

// A rollout whose record could not be written to the bus is refused before it begins.
func TestRecordTooLarge(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]string{
		64<<10 + 200 + 3*8:     "",
		64<<10 + 200 + 3*8 - 1: "plan: waves: are too much for one fleet: the record of edge in 1 region with 3 agents may take 65760 bytes, the bus takes 65759",
	} {
		f := newFleet(t, spec{regions: one("a1", "a2", "a3"), config: func(c *controller.Config) { *c = controller.WithRecord(*c, most) }})
		d := f.drive()
		f.publish(d, site(edge, "1", "a", "b"))
		req := controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}
		_, planned := d.Plan(t.Context(), req)
		_, started := d.Start(t.Context(), req, "op")
		for _, err := range []error{planned, started} {
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
				t.Errorf("with %d bytes: %v, want %q", most, err, want)
			}
		}
	}
}
