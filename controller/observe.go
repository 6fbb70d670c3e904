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
	before, ok := c.registry.get(region, id)
	if !ok {
		return nil // removed meanwhile
	}
	if err := c.overtake(region, id, report.Desired); err != nil {
		return err
	}
	if !c.registry.heard(region, id, report, stored) {
		if old := before.report; old != nil && old.Newer(report) && c.registry.tell(region, id, time.Now()) {
			c.log.Warn("reports of an agent are older than its last one and are ignored: is its clock behind, or does it run twice?", "region", region, "agent", id,
				"incarnation", report.Incarnation, "sequence", report.Sequence, "last_incarnation", old.Incarnation, "last_sequence", old.Sequence)
		}
		return nil
	}
	n, _ := c.registry.get(region, id)
	for _, app := range wire.Keys(c.states) {
		// Only if it changes who serves the app: the list costs as much as the region is
		// large, and a controller that begins to lead hears from everybody at once.
		if before.serves(app) != n.serves(app) {
			if err := c.step(app, c.membersOf(app, region)); err != nil {
				return err
			}
		}
		if e, ok := reported(app, n); ok {
			if err := c.step(app, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxOvertake bounds how far one report can raise a sequence.
const maxOvertake = 1 << 20

// overtake signs the region's orders anew above a sequence that an agent has acted on and
// nobody here knows: when the disk and the bus have both been lost, sequences begin anew,
// and agents would refuse every order as a replay.
func (c *Controller) overtake(region wire.Region, id wire.AgentID, seen uint64) error {
	head := c.wants[region].Sequence
	if seen <= head {
		return nil
	}
	if seen-head > maxOvertake {
		if c.registry.tell(region, id, time.Now()) {
			c.log.Warn("an agent claims to have acted on orders that are too far ahead; its claim is ignored", "region", region, "agent", id, "sequence", seen, "newest", head)
		}
		return nil
	}
	c.log.Warn("an agent has acted on newer orders than are known here; the region's orders are signed anew above them", "region", region, "agent", id, "sequence", seen, "newest", head)
	c.wants[region] = want{Sequence: seen}
	return c.reorder(region)
}

// reported returns what an agent last said of an app, for the app's engine.
func reported(app wire.App, n node) (rollout.Reported, bool) {
	if n.report == nil || !n.serves(app) {
		return rollout.Reported{}, false
	}
	return rollout.Reported{
		Now: time.Now().UTC(), Region: n.Region, Agent: n.Agent, Stored: n.stored,
		Incarnation: n.report.Incarnation, Sequence: n.report.Sequence, Desired: n.report.Desired,
		Build: n.report.Build, Peers: n.report.Members, Report: n.report.Apps[app],
	}, true
}
