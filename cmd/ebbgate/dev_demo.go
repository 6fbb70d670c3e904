package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// demo plays the acts. Every command that it shows is run as it stands.
type demo struct {
	c    *cli
	lab  *lab.Lab
	load *lab.Load
	act  int
}

// runDemo returns an error, and so fails `make demo`, when any act does not end as told.
func runDemo(ctx context.Context, c *cli, l *lab.Lab) error {
	began := time.Now()
	d := &demo{c: c, lab: l}
	acts := []struct {
		title string
		play  func(context.Context) error
	}{
		{"1.0.0 goes out", d.first},
		{"1.1.0 rolls region by region, each region purged before the next begins", d.roll},
		{"a node dies, the rollout goes on as the plan says, and the node comes back late", d.late},
		{"1.3.0 is valid but answers 500: the canary stops it", d.bad},
	}
	for i, a := range acts {
		d.act = i + 1
		d.say("\n── act %d: %s", d.act, a.title)
		if err := a.play(ctx); err != nil {
			if d.load != nil {
				d.load.Stop()
			}
			return fmt.Errorf("act %d of the demo: %w", d.act, err)
		}
	}
	return d.summary(ctx, began)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.c.out, format+"\n", args...) }

// shell shows a command, runs it in the fleet's directory and passes on what it prints.
// It fails unless the exit code is the wanted one.
func (d *demo) shell(ctx context.Context, want int, args ...string) error {
	d.say("\n$ ebbgate %s", strings.Join(args, " "))
	cmd := d.lab.Command(ctx, args...)
	cmd.Dir = d.lab.Dir()
	cmd.Stdout, cmd.Stderr = d.c.out, d.c.out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("ebbgate %s ended with exit code %d, want %d", strings.Join(args, " "), got, want)
	}
	return nil
}

func (d *demo) publish(ctx context.Context, dir string) error {
	return d.shell(ctx, 0, "publish", dir, "--key", "controller/author.key")
}

func (d *demo) publishAndStart(ctx context.Context, dir, version, plan string, want int) error {
	if err := d.publish(ctx, dir); err != nil {
		return err
	}
	return d.start(ctx, version, plan, want)
}

// start starts a rollout and follows it to its end, which want is the exit code of.
func (d *demo) start(ctx context.Context, version, plan string, want int) error {
	return d.shell(ctx, want, "rollout", "start", string(devApp), version, "-f", plan, "-w", "--timeout", "1m")
}

func (d *demo) first(ctx context.Context) error {
	if err := d.publishAndStart(ctx, "v1", "1.0.0", "first.yaml", 0); err != nil {
		return err
	}
	var urls []string
	for _, n := range d.lab.Nodes {
		urls = append(urls, n.URL[devApp]+"/")
	}
	d.load = lab.StartLoad(urls)
	d.say("\nFrom here on every node gets a request every 20 ms, on a fresh connection, never retried.")
	return nil
}

func (d *demo) roll(ctx context.Context) error {
	if err := d.publish(ctx, "v2"); err != nil {
		return err
	}
	if err := d.shell(ctx, 0, "plan", string(devApp), "1.1.0", "-f", "plan.yaml"); err != nil {
		return err
	}
	if err := d.start(ctx, "1.1.0", "plan.yaml", 0); err != nil {
		return err
	}
	v, err := d.lab.App(ctx, devApp)
	if err != nil {
		return err
	}
	return d.order(v)
}

// order checks, on the CDN's own clock, that every region was purged after its last
// confirmation and before the next region's first activation.
func (d *demo) order(v controller.AppView) error {
	var before *rollout.RegionSummary
	d.say("")
	for _, w := range v.Summary.Rollout.Waves {
		r := w.Regions[0]
		if before != nil && r.Times.Activated.Before(before.Times.Barrier) {
			return fmt.Errorf("region %s was activated before the barrier of %s", r.Region, before.Region)
		}
		var first time.Time
		for _, p := range d.lab.StandIns.Purges(r.Region) {
			if p.At.After(v.Summary.Rollout.Started) && (first.IsZero() || p.At.Before(first)) {
				first = p.At
			}
		}
		if first.Before(r.Times.Confirmed) || first.After(r.Times.Barrier) {
			return fmt.Errorf("region %s: the CDN saw the purge at %s, outside of %s to %s", r.Region, first, r.Times.Confirmed, r.Times.Barrier)
		}
		d.say("%-9s first node switched %s, last confirmed %s, CDN purged %s (gap %s), barrier %s", r.Region,
			clock(r.Times.Activated), clock(r.Times.Confirmed), clock(first), first.Sub(r.Times.Confirmed).Round(time.Millisecond), clock(r.Times.Barrier))
		before = &r
	}
	return nil
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

func (d *demo) late(ctx context.Context) error {
	victim := d.lab.Nodes[4]
	url := victim.URL[devApp] + "/"
	d.say("\n$ kill -9 %s", victim.ID)
	d.load.Down(url, true)
	d.lab.KillAgent(victim.ID)
	if err := d.lab.WaitLive(ctx, len(d.lab.Nodes)-1); err != nil {
		return err
	}
	if err := d.publishAndStart(ctx, "v3", "1.2.0", "plan.yaml", 0); err != nil {
		return err
	}
	purges := len(d.lab.StandIns.Purges(victim.Region))
	d.say("\n%s was left behind, as max_unreachable: 1 allows. Now it returns.", victim.ID)
	if err := d.lab.StartAgent(victim.ID); err != nil {
		return err
	}
	_, err := d.lab.WaitApp(ctx, devApp, "the late node to converge and its region to be purged again", func(v controller.AppView) bool {
		for _, r := range v.Summary.Regions {
			if r.Region == victim.Region {
				return r.Counts.Live == r.Counts.Total && r.Counts.Confirmed == r.Counts.Total && r.Purge != nil && r.Purge.Round > 1 && !r.Purge.Verified.IsZero()
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	d.load.Down(url, false)
	again := len(d.lab.StandIns.Purges(victim.Region)) - purges
	if again == 0 {
		return fmt.Errorf("%s was not purged again", victim.Region)
	}
	d.say("%s runs 1.2.0, and %s was purged again: %d calls at its CDNs.", victim.ID, victim.Region, again)
	return d.shell(ctx, 0, "rollout", "get", string(devApp))
}

func (d *demo) bad(ctx context.Context) error {
	if err := d.publishAndStart(ctx, "v4", "1.3.0", "plan.yaml", exitRolledBack); err != nil {
		return err
	}
	if err := d.shell(ctx, 0, "rollout", "explain", string(devApp)); err != nil {
		return err
	}
	v, err := d.lab.App(ctx, devApp)
	if err != nil {
		return err
	}
	for _, r := range v.Summary.Regions {
		if r.Running != "1.2.0" {
			return fmt.Errorf("region %s runs %s after the revert, want 1.2.0", r.Region, r.Running)
		}
		for _, a := range r.Agents {
			if a.Version != "1.2.0" {
				return fmt.Errorf("agent %s runs %s after the revert, want 1.2.0", a.ID, a.Version)
			}
		}
	}
	return nil
}

func (d *demo) summary(ctx context.Context, began time.Time) error {
	counts := d.load.Stop()
	d.say("\n── summary\n")
	d.say("%s.", counts)
	history, err := d.lab.History(ctx, devApp)
	if err != nil {
		return err
	}
	d.say("%d rollouts, %d purge calls at the CDNs, %.0f s in all.", len(history),
		d.lab.StandIns.Fastly.Calls()+d.lab.StandIns.Cloudflare.Calls(), time.Since(began).Seconds())
	if err := d.shell(ctx, 0, "bundle", "ls"); err != nil {
		return err
	}
	if err := d.shell(ctx, 0, "region", "ls"); err != nil {
		return err
	}
	if counts.Failed > 0 {
		return fmt.Errorf("%d of %d requests got no answer: %s", counts.Failed, counts.Sent, counts.LastErr)
	}
	return nil
}
