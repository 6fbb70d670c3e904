package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Webhook is an endpoint that is asked for a verdict.
type Webhook struct{ source *source }

// NewWebhook checks the configuration; it does not talk to the endpoint.
func NewWebhook(c Config) (*Webhook, error) {
	s, err := newSource(c)
	if err != nil {
		return nil, err
	}
	return &Webhook{s}, nil
}

// Question is what a webhook is asked, as JSON in a POST. A question that may have been lost
// comes again in a higher round.
type Question struct {
	App     wire.App       `json:"app"`
	Rollout string         `json:"rollout"`
	Version wire.Version   `json:"version"`
	Region  wire.Region    `json:"region"`
	Epoch   wire.Epoch     `json:"epoch"`
	Step    int            `json:"step"` // from 1
	Gate    string         `json:"gate"`
	Round   int            `json:"round"`
	Cohort  []wire.AgentID `json:"cohort"` // agents that switched
	Rest    []wire.AgentID `json:"rest"`   // those they may be compared with
}

// Answer is what it answers with status 200, and nothing else.
type Answer struct {
	Verdict string `json:"verdict"`          // pass, fail or wait
	Reason  string `json:"reason,omitempty"` // one line for people
}

const maxAnswer = 64 << 10

// Read asks for the verdict. Wait is no verdict yet.
func (h *Webhook) Read(ctx context.Context, m rollout.Measure) (rollout.Measured, error) {
	body, err := wire.EncodeJSON(Question{
		App: m.App, Rollout: m.Rollout, Version: m.Version, Region: m.Region, Epoch: m.Epoch, Step: m.Step,
		Gate: m.Gate.Name, Round: m.Round, Cohort: m.Cohort, Rest: m.Rest,
	})
	if err != nil {
		return rollout.Measured{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.source.timeout)
	defer cancel()
	status, body, err := h.source.post(ctx, question{id: m.ID(), contentType: "application/json", body: body, limit: maxAnswer})
	switch {
	case err != nil:
		return rollout.Measured{}, err
	case status != http.StatusOK:
		return rollout.Measured{}, errors.New(answers(status))
	}
	return h.verdict(body)
}

func (h *Webhook) verdict(body []byte) (rollout.Measured, error) {
	var a Answer
	if err := wire.DecodeJSON("answer", maxAnswer, body, &a); err != nil {
		return rollout.Measured{}, errors.New(h.source.clean(err.Error()))
	}
	answer := rollout.Measured{Reason: h.source.clean(a.Reason)}
	switch a.Verdict {
	case "pass":
		answer.Verdict = rollout.VerdictPass
	case "fail":
		answer.Verdict = rollout.VerdictFail
	case "wait":
		answer.Verdict = rollout.VerdictNone
	default:
		return rollout.Measured{}, fmt.Errorf("its verdict is %s, want pass, fail or wait", h.source.clean(fmt.Sprintf("%q", a.Verdict)))
	}
	return answer, nil
}
