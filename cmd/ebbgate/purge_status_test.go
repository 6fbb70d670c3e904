package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// What a purge waits for, or why it did nothing, is in the columns that everybody sees.
func TestPurgeColumns(t *testing.T) {
	for name, tc := range map[string]struct {
		purge      controller.PurgeView
		state, why string
	}{
		"done":     {cdn.Entry{State: cdn.StateAccepted}, "accepted", "–"},
		"no fence": {cdn.Entry{State: cdn.StateAccepted, Skipped: "scope SU1 has no dictionary in the configuration"}, "no fence", "scope SU1 has no dictionary in the configuration"},
		"refused":  {cdn.Entry{State: cdn.StateRefused, Reason: "cannot purge", LastError: "older"}, "refused", "cannot purge"},
		"paused":   {cdn.Entry{State: cdn.StateIntended, PausedUntil: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, "intended", "waits until 2026-01-02 03:04:05Z (the account is rate limited)"},
		"failing":  {cdn.Entry{State: cdn.StateIntended, LastError: "no answer"}, "intended", "no answer"},
	} {
		got := make(map[string]string)
		for _, col := range purgeList.columns {
			got[col.head] = col.cell(tc.purge)
		}
		if got["STATE"] != tc.state || got["WHY"] != tc.why {
			t.Errorf("%s: STATE %q WHY %q, want %q and %q", name, got["STATE"], got["WHY"], tc.state, tc.why)
		}
	}
}

// One long key does not pad every row; with -o wide it is there to be copied. Why a purge failed
// is never cut.
func TestLongCells(t *testing.T) {
	long := strings.Repeat("k", 1024)
	purges := []controller.PurgeView{{Item: cdn.Item{Region: "eu", Selector: cdn.Selector{Kind: cdn.Key, Value: long}}, State: cdn.StateRefused, Reason: long}}
	for output, whole := range map[string]int{"table": 1, "wide": 2} {
		var out strings.Builder
		if err := printList(&cli{out: &out, output: output}, purges, purgeList); err != nil {
			t.Fatal(err)
		}
		if cut := strings.Contains(out.String(), "key:"+strings.Repeat("k", 55)+"…  refused"); cut != (output == "table") || strings.Count(out.String(), long) != whole {
			t.Errorf("%s:\n%s", output, out.String())
		}
	}
}

// What is predicted has no more digits than it is worth.
func TestPlanPurgeTime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5*time.Minute + 13*time.Second + time.Second/3: "5m13s",
		4 * time.Second:        "4s",
		300 * time.Millisecond: "300ms",
		0:                      "0s",
	} {
		for _, col := range planList(controller.PlanView{}).columns {
			if got := col.cell(controller.PlanRegion{PurgeFor: wire.Duration(d)}); col.head == "PURGE TIME" && got != want {
				t.Errorf("%s is shown as %s, want %s", d, got, want)
			}
		}
	}
}
