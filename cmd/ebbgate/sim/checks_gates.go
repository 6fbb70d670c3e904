package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// hurries reports whether the rollout may pass over what its plan waits for.
func (w *world) hurries(c *controller, ro *rollout.Rollout) bool {
	return ro.Undoes != "" || ro.Glass != nil && len(ro.Glass.Approvals) >= rollout.GlassApprovals && c.clock().Before(ro.Glass.Expires.Add(2*time.Second))
}

func (w *world) approvedBy(d rollout.Decision) {
	if d.Kind != rollout.KindApprove || d.Region == "" {
		return
	}
	at := measured{d.Region, d.Epoch}
	if w.checks.people[at] == nil {
		w.checks.people[at] = make(map[string]bool)
	}
	w.checks.people[at][d.Inputs["by"]] = true
	if strings.Contains(d.Reason, "without its gates") {
		w.checks.waived[at] = true
	}
}

// gated: a region is committed only with its gate's last word good, and approved, unless
// somebody let it go on.
func (w *world) gated(before rollout.State, r wire.Region) {
	ro, rr := before.Rollout, before.Regions[r]
	c := w.leader()
	if c == nil || w.hurries(c, ro) {
		return
	}
	for _, wave := range ro.Plan.Waves {
		if !slices.Contains(wave.Regions, r) {
			continue
		}
		people := make(map[string]bool) // seen, or committed by one who died of it
		maps.Copy(people, w.checks.people[measured{r, rr.Next.Epoch}])
		for _, a := range rr.Approvals {
			people[a.By] = true
		}
		if n := len(people); n < wave.Approve {
			w.fail("%s is committed with %d approvals, the wave wants %d", r, n, wave.Approve)
		}
	}
	if len(ro.Plan.Gates) == 0 || rr.Waived != "" || w.checks.waived[measured{r, rr.Next.Epoch}] {
		return
	}
	m, asked := w.checks.answers[measured{r, rr.Next.Epoch}]
	if !asked || m.Error != "" || *m.Cohort.Value > *ro.Plan.Gates[0].Max {
		w.fail("%s is committed although its gate says %+v", r, m)
	}
	w.count("gate passed")
}

// unfrozen: nothing new begins in a freeze, but for those who hurry.
func (w *world) unfrozen(c *controller, s rollout.State, r wire.Region) {
	if until, _ := s.Rollout.Plan.Frozen(s.Now); !until.IsZero() && !w.hurries(c, s.Rollout) {
		w.fail("%s is activated in a freeze until %s", r, until)
	}
}
