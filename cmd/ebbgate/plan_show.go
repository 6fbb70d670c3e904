package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

func printPlan(c *cli, v controller.PlanView) error {
	if done, err := printValue(c, v); done {
		return err
	}
	if c.output != "name" {
		what := fmt.Sprintf("%s %s (%s)", v.App, v.Version, v.Digest.Short())
		if v.Changes {
			c.progress("%s would change %s in %s; start it with --check-index %d", what,
				rollout.Plural(len(v.Regions), "region"), rollout.Plural(len(v.Plan.Waves), "wave"), v.Index)
		} else {
			c.progress("%s is what every region runs: nothing would change", what)
		}
	}
	if err := printList(c, v.Regions, planList(v)); err != nil || c.output == "name" {
		return err
	}
	wide := c.output == "wide"
	lines := append([]string{""}, holdLines(v, wide)...)
	for _, r := range v.Regions {
		for _, p := range r.Planes {
			lines = append(lines, fmt.Sprintf("%s: %s on %s: %s", r.Region, p.Plane, rollout.Plural(p.Agents, "agent"), traits(p.Traits)))
		}
		if wide {
			for _, f := range r.Files {
				lines = append(lines, fmt.Sprintf("%s: %s", r.Region, f))
			}
			for _, s := range r.Purge {
				lines = append(lines, fmt.Sprintf("%s: purge %s", r.Region, s))
			}
		}
	}
	for _, l := range lines {
		fmt.Fprintln(c.out, plain(l))
	}
	return nil
}

func planList(v controller.PlanView) list[controller.PlanRegion] {
	return list[controller.PlanRegion]{
		name: func(r controller.PlanRegion) string { return string(r.Region) },
		columns: []column[controller.PlanRegion]{
			{head: "WAVE", cell: func(r controller.PlanRegion) string { return fmt.Sprint(r.Wave) }},
			{head: "REGION", cell: func(r controller.PlanRegion) string { return string(r.Region) }},
			{head: "LIVE", cell: func(r controller.PlanRegion) string { return fmt.Sprintf("%d/%d", r.Live, r.Agents) }},
			{head: "FROM", cell: func(r controller.PlanRegion) string {
				if len(r.Others) > 0 {
					return orDash(string(r.From)) + ", " + othersText(r.Others)
				}
				return orDash(string(r.From))
			}},
			{head: "TO", cell: func(controller.PlanRegion) string { return string(v.Version) }},
			{head: "FILES", cell: func(r controller.PlanRegion) string { return fmt.Sprint(len(r.Files)) }},
			{head: "PURGE", cell: func(r controller.PlanRegion) string { return fmt.Sprint(len(r.Purge)) }},
			{head: "PURGE TIME", cell: func(r controller.PlanRegion) string { return whole(r.PurgeFor.Std()).String() }},
			{head: "STRATEGY", cell: func(r controller.PlanRegion) string { return orDash(string(r.Strategy)) }},
			{head: "STEPS", cell: func(r controller.PlanRegion) string { return orDash(steps(r, v.Plan)) }},
			{head: "WARNINGS", cell: func(r controller.PlanRegion) string { return orDash(strings.Join(r.Warnings, "; ")) }},
		},
	}
}

// whole rounds what is predicted to seconds; below one it stays as it is.
func whole(d time.Duration) time.Duration {
	if d < time.Second {
		return d
	}
	return d.Round(time.Second)
}

// steps says how a region widens.
func steps(r controller.PlanRegion, p rollout.Plan) string {
	if r.Strategy == rollout.StrategyRolling {
		return p.MaxUnavailable.String() + " at a time"
	}
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Activate.String())
	}
	return strings.Join(all, " → ")
}

// holdLines says what the rollout is held to; an emergency first without what it passes over,
// and then to what counts again.
func holdLines(v controller.PlanView, wide bool) (lines []string) {
	p := v.Plan
	if v.Glass == nil {
		lines = planLines(p, wide)
	} else {
		lines = append(lines, glassText(v.Glass, time.Now())+": "+v.Glass.Reason,
			fmt.Sprintf("nothing is activated before %s by people with the role approver; then, until it expires:", rollout.Plural(rollout.GlassApprovals, "approval")))
		lines = append(lines, planLines(p.Hurried(), wide)...)
		for _, r := range v.Regions {
			lines = append(lines, fmt.Sprintf("%s: %d of %s at the same time, at most", r.Region, r.AtOnce, rollout.Plural(r.Agents, "agent")))
		}
		for _, l := range planLines(p, wide) {
			lines = append(lines, "once it has expired, "+l)
		}
	}
	return append(lines, fmt.Sprintf("tolerates %s and %s unreachable in a region; on failure: %s, of a purge: %s; deadline %s, of approvals %s",
		rollout.Plural(p.MaxFailures, "failed agent"), p.MaxUnreachable, p.OnFailure, p.OnPurgeFailure, p.Deadline, p.ApproveWithin))
}

// planLines says what a plan holds to: after steps and waves, by gates, and when.
func planLines(p rollout.Plan, wide bool) (lines []string) {
	for n, w := range p.Waves {
		steps := w.AllSteps()
		for i, s := range steps[:len(steps)-1] {
			lines = append(lines, fmt.Sprintf("wave %d, step %d (%s): %s", n+1, i+1, s.Activate, heldTo(p, rollout.Wave{Bake: s.Bake, Gates: s.Gates, Approve: s.Approve})))
		}
		text := heldTo(p, w)
		if w.MaxParallel > 0 {
			text += fmt.Sprintf(", %s at a time", rollout.Plural(w.MaxParallel, "region"))
		}
		lines = append(lines, fmt.Sprintf("wave %d: %s", n+1, text))
	}
	for _, g := range p.Gates {
		lines = append(lines, "gate "+gateText(g))
		if wide && g.Query != "" {
			lines = append(lines, fmt.Sprintf("gate %s: asks %s", g.Name, g.Query))
		}
	}
	for _, w := range p.Freeze {
		lines = append(lines, "freeze: "+windowText(w))
	}
	return lines
}

// heldTo says what stands after a step or wave. Without names, every gate of the plan does.
func heldTo(p rollout.Plan, w rollout.Wave) string {
	gates := w.Gates
	if len(gates) == 0 {
		for _, g := range p.Gates {
			gates = append(gates, g.Name)
		}
	}
	text := "bake " + w.Bake.String()
	if len(gates) > 0 {
		text += ", gates " + strings.Join(gates, ", ")
	}
	if w.Approve > 0 {
		text += ", " + rollout.Plural(w.Approve, "approval")
	}
	return text
}

func gateText(g rollout.Gate) string {
	text := g.Name + ": webhook " + g.Webhook
	if g.Webhook == "" {
		text = g.Name + ": prometheus " + g.Prometheus
	}
	for _, l := range []struct {
		how string
		of  *float64
		on  string
	}{{"at least", g.Min, ""}, {"at most", g.Max, ""}, {"at most", g.MaxRatio, " times the rest"}} {
		if l.of != nil {
			text += fmt.Sprintf(", %s %s%s", l.how, strconv.FormatFloat(*l.of, 'g', 4, 64), l.on)
		}
	}
	if g.MinSamples > 0 {
		text += fmt.Sprintf(", over at least %s samples", strconv.FormatFloat(g.MinSamples, 'g', 4, 64))
	}
	fails := "the first bad reading"
	if g.Failures > 1 {
		fails = fmt.Sprintf("%d bad readings in a row", g.Failures)
	}
	return fmt.Sprintf("%s; every %s, fails at %s", text, g.Interval, fails)
}

func windowText(w rollout.Window) string {
	text := fmt.Sprintf("%s to %s", w.From, w.Until)
	if len(w.Days) > 0 {
		text = fmt.Sprintf("%s %s UTC", strings.Join(w.Days, ", "), text)
	}
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	return text
}

func traits(declared []string) string {
	if len(declared) == 0 {
		return "declares nothing of itself"
	}
	return strings.Join(declared, ", ")
}
