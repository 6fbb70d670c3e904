package controller

import (
	"context"
	"errors"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// heard takes in a report from the bus. It is called from one goroutine; whatever does
// not verify is logged and forgotten.
func (c *Controller) heard(ctx context.Context, region wire.Region, id wire.AgentID, envelope []byte, stored time.Time) {
	n, ok := c.registry.get(region, id)
	if !ok {
		c.log.Debug("a report of an agent that is not enrolled", "region", region, "agent", id)
		return
	}
	report, err := c.cfg.Trust.OpenReport(envelope, id, n.Key)
	if err == nil && report.Region != region {
		err = &wire.FieldError{Doc: "report", Field: "region", Reason: "is not the one it was sent for"}
	}
	if err != nil {
		c.log.Warn("a report was refused", "region", region, "agent", id, "error", err)
		return
	}
	_, err = inLoop(ctx, c, func() (struct{}, error) { return struct{}{}, c.observe(region, id, report, stored) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStandby) {
		c.log.Error("a report could not be taken in", "region", region, "agent", id, "error", err)
	}
}

// observe gives a verified report to the engines of the apps it is about. It runs in the loop.
func (c *Controller) observe(region wire.Region, id wire.AgentID, report *wire.Report, stored time.Time) error {
	before, _ := c.registry.get(region, id)
	if !c.registry.heard(region, id, report, stored) {
		return nil
	}
	n, _ := c.registry.get(region, id)
	if before.report == nil || !sameApps(before.report, report) {
		if err := c.members(region); err != nil {
			return err
		}
	}
	for _, app := range wire.Keys(c.states) {
		if err := c.reported(app, n); err != nil {
			return err
		}
	}
	return nil
}

func sameApps(a, b *wire.Report) bool {
	if len(a.Apps) != len(b.Apps) {
		return false
	}
	for app := range a.Apps {
		if _, both := b.Apps[app]; !both {
			return false
		}
	}
	return true
}

// reported gives what an agent last said of an app to the app's engine.
func (c *Controller) reported(app wire.App, n node) error {
	if n.report == nil {
		return nil
	}
	a, serves := n.report.Apps[app]
	if !serves {
		return nil
	}
	return c.step(app, rollout.Reported{
		Now: time.Now().UTC(), Region: n.Region, Agent: n.Agent, Stored: n.stored,
		Incarnation: n.report.Incarnation, Sequence: n.report.Sequence, Desired: n.report.Desired, Report: a,
	})
}
