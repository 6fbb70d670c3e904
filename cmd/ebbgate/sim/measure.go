package sim

import (
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

// measure answers for the metrics server: it is dead, the number is bad, or it is good. An answer
// may take longer than the gate's interval, and is lost with the process that asked.
func (c *controller) measure(e rollout.Measure) {
	c.later(c.luck.between(10*time.Millisecond, 12*time.Second), func() {
		m := rollout.Measured{Now: c.clock(), Region: e.Region, Epoch: e.Epoch, Gate: e.Gate.Name, Round: e.Round, Alone: len(e.Rest) == 0}
		number := 0.5
		switch {
		case c.w.strikes(faultMetrics, 3, e.Region):
			m.Error = "connection refused"
		case c.w.strikes(faultNumber, 6, e.Region):
			number = 2
			fallthrough
		default:
			m.Cohort.Value = &number
		}
		c.w.checks.answers[measured{e.Region, e.Epoch}] = m
		c.step(m)
	})
}
