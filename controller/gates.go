package controller

import (
	"context"
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// GateSource reads gates at one place.
type GateSource interface {
	// Read asks for what m says, within seconds and no longer than ctx, and returns what is
	// measured: Cohort, Rest and Alone, or Verdict and Reason. The error is one line for
	// people, and means that there is no answer. It is called by several goroutines.
	Read(ctx context.Context, m rollout.Measure) (rollout.Measured, error)
}

// GateSources is whom gates may ask, by the names that plans use.
type GateSources struct {
	Prometheus map[string]GateSource // name → server
	Webhooks   map[string]GateSource // name → endpoint
}

// of returns the source of a gate, or nil, and the names that its kind has.
func (s GateSources) of(g rollout.Gate) (source GateSource, known []string) {
	if g.Webhook != "" {
		return s.Webhooks[g.Webhook], wire.Keys(s.Webhooks)
	}
	return s.Prometheus[g.Prometheus], wire.Keys(s.Prometheus)
}

// check refuses gates that ask whom this controller does not know.
func (s GateSources) check(gates []rollout.Gate) error {
	for i, g := range gates {
		source, known := s.of(g)
		if source != nil {
			continue
		}
		field, name := "prometheus", g.Prometheus
		if g.Webhook != "" {
			field, name = "webhook", g.Webhook
		}
		reason := fmt.Sprintf("is %q, which the controller's configuration does not have; it has %s", name, strings.Join(known, ", "))
		if len(known) == 0 {
			reason = fmt.Sprintf("is %q, but the controller's configuration has none", name)
		}
		return &wire.FieldError{Doc: "plan", Field: fmt.Sprintf("gates[%d].%s", i, field), Reason: reason}
	}
	return nil
}
