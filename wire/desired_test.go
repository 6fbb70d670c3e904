package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDesiredRefuses(t *testing.T) {
	for _, tt := range []struct {
		field string
		spoil func(d *Desired, o *Order)
	}{
		{"", func(*Desired, *Order) {}},
		{"", func(d *Desired, _ *Order) { d.Apps = nil }},
		{"", func(_ *Desired, o *Order) { o.Base = nil }},
		{"", func(_ *Desired, o *Order) { o.Next = nil }},
		{"fleet", func(d *Desired, _ *Order) { d.Fleet = "a.b" }},
		{"region", func(d *Desired, _ *Order) { d.Region = "*" }},
		{"sequence", func(d *Desired, _ *Order) { d.Sequence = 0 }},
		{"issued", func(d *Desired, _ *Order) { d.Issued = time.Time{} }},
		{"apps", func(d *Desired, _ *Order) { d.Apps["a b"] = Order{} }},
		{"apps.edge-proxy.base.epoch", func(_ *Desired, o *Order) { o.Base.Epoch = 0 }},
		{"apps.edge-proxy.base.digest", func(_ *Desired, o *Order) { o.Base.Digest = Digest{} }},
		{"apps.edge-proxy.base.packs", func(_ *Desired, o *Order) { o.Base.Packs = nil }},
		{"apps.edge-proxy.next.version", func(_ *Desired, o *Order) { o.Next.Version = "" }},
		{"apps.edge-proxy.next.packs", func(_ *Desired, o *Order) { o.Next.Packs = o.Next.Packs[:1] }}, // the delta only
		{"apps.edge-proxy.next.packs", func(_ *Desired, o *Order) { o.Next.Packs = slices.Repeat(o.Next.Packs, 9) }},
		{"apps.edge-proxy.next.packs[1].index", func(_ *Desired, o *Order) { o.Next.Packs[1].Index = Digest{} }},
		{"apps.edge-proxy.next.soak", func(_ *Desired, o *Order) { o.Next.Soak = -1 }},
		{"apps.edge-proxy.next.healthy", func(_ *Desired, o *Order) { o.Next.Healthy = -1 }},
		{"apps.edge-proxy.next.epoch", func(_ *Desired, o *Order) { o.Next.Epoch = o.Base.Epoch }},
		{"apps.edge-proxy.next.phase", func(_ *Desired, o *Order) { o.Next.Phase = "go" }},
		{"apps.edge-proxy.next.cohort.seed", func(_ *Desired, o *Order) { o.Next.Cohort.Seed = strings.Repeat("x", 65) }},
		{"apps.edge-proxy.next.cohort.named[1]", func(_ *Desired, o *Order) { o.Next.Cohort.Named = []AgentID{"b", "a"} }},
		{"apps.edge-proxy.next.cohort.named[1]", func(_ *Desired, o *Order) { o.Next.Cohort.Named = []AgentID{"a", "a"} }},
		{"apps.edge-proxy.next.cohort.named[0]", func(_ *Desired, o *Order) { o.Next.Cohort.Named = []AgentID{"A"} }},
		{"apps.edge-proxy.next.cohort.except[1]", func(_ *Desired, o *Order) { o.Next.Cohort.Except = []AgentID{"b", "a"} }},
		{"apps.edge-proxy.next.expires", func(_ *Desired, o *Order) { o.Next.Expires = o.Next.NotBefore }},
	} {
		d := goodDesired()
		base := *d.Apps["edge-proxy"].Base // not shared with the other app
		o := Order{Base: &base, Next: d.Apps["edge-proxy"].Next}
		tt.spoil(d, &o)
		if d.Apps != nil {
			d.Apps["edge-proxy"] = o
		}
		wantField(t, d.Validate(), tt.field)
	}
}

// TestScoresAreFixed: two readers must agree on who is in, whatever they are written in.
func TestScoresAreFixed(t *testing.T) {
	for id, want := range map[AgentID]string{"node-a": "28b1180c856053f6", "node-b": "e81981c3261a23af"} {
		if got := ScoreOf("r-17", id).String(); got != want {
			t.Errorf("%s has score %s, want %s", id, got, want)
		}
	}
}

func TestCohort(t *testing.T) {
	var ids []AgentID
	for i := range 1000 {
		ids = append(ids, AgentID(fmt.Sprint("node-", i)))
	}
	slices.SortFunc(ids, func(a, b AgentID) int {
		if ScoreOf("s", a) < ScoreOf("s", b) {
			return -1
		}
		return 1
	})
	in := func(c Cohort) (n int) {
		for _, id := range ids {
			if c.Has(id) {
				n++
			}
		}
		return n
	}
	if n := in(Cohort{Seed: "s"}); n != 0 {
		t.Errorf("cut-off 0 holds %d", n)
	}
	if n := in(Cohort{Seed: "s", CutOff: AllScores}); n != 1000 {
		t.Errorf("the highest cut-off holds %d of 1000", n)
	}
	for _, k := range []int{1, 50, 999} {
		c := Cohort{Seed: "s", CutOff: ScoreOf("s", ids[k-1])}
		if n := in(c); n != k || !c.Has(ids[0]) || c.Has(ids[k]) {
			t.Errorf("the %d. score as cut-off holds %d", k, n)
		}
	}
	if n := in(Cohort{Seed: "s", CutOff: ScoreOf("s", ids[9]), Named: []AgentID{ids[3]}, Except: slices.Sorted(slices.Values([]AgentID{ids[3], ids[4], ids[700]}))}); n != 9 {
		t.Errorf("%d agents in a cohort of ten without one, and with one that is named all the same", n)
	}
	if n := in(Cohort{Seed: "s", CutOff: ScoreOf("s", ids[9]), Named: slices.Sorted(slices.Values([]AgentID{ids[3], ids[700]}))}); n != 11 {
		t.Errorf("ten by score and one more by name are %d", n)
	}
	other := 0
	for _, id := range ids[:100] {
		if (Cohort{Seed: "t", CutOff: ScoreOf("s", ids[99])}).Has(id) {
			other++
		}
	}
	if other > 30 {
		t.Errorf("%d of the first 100 go first under another seed too", other)
	}
}
