package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Prometheus is a server that speaks the HTTP API of Prometheus.
type Prometheus struct{ source *source }

// NewPrometheus checks the configuration; it does not talk to the server. The URL is what
// /api/v1/query is below.
func NewPrometheus(c Config) (*Prometheus, error) {
	s, err := newSource(c)
	if err != nil {
		return nil, err
	}
	if s.url.RawQuery != "" {
		return nil, errors.New("url has a query")
	}
	return &Prometheus{s}, nil
}

// Read asks for the gate's number and samples of the agents that switched and, if the gate
// has a ratio, of the others.
func (p *Prometheus) Read(ctx context.Context, m rollout.Measure) (answer rollout.Measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.source.timeout)
	defer cancel()
	if answer.Cohort, err = p.sample(ctx, m, m.Cohort); err != nil {
		return rollout.Measured{}, err
	}
	if m.Gate.MaxRatio == nil {
		return answer, nil
	}
	if len(m.Rest) == 0 {
		answer.Alone = true
		return answer, nil
	}
	if answer.Rest, err = p.sample(ctx, m, m.Rest); err != nil {
		return rollout.Measured{}, fmt.Errorf("for the agents to compare with: %w", err)
	}
	return answer, nil
}

func (p *Prometheus) sample(ctx context.Context, m rollout.Measure, agents []wire.AgentID) (s rollout.Sample, err error) {
	if s.Value, err = p.ask(ctx, m, m.Gate.Query, agents); err != nil {
		return s, fmt.Errorf("query: %w", err)
	}
	if m.Gate.Samples == "" {
		return s, nil
	}
	if s.Samples, err = p.ask(ctx, m, m.Gate.Samples, agents); err != nil {
		return s, fmt.Errorf("samples: %w", err)
	}
	return s, nil
}

const (
	placeholder = "$agents"
	// maxNumber bounds the answer to a query; one number needs far less, and a refusal may
	// repeat the query.
	maxNumber = 1 << 20
)

// ask evaluates a query now. Nil: no data. A query about agents is not asked about none: an
// empty expression would match every series that lacks the label, and one that matches
// nothing could still be made a number of by `or vector(0)`.
func (p *Prometheus) ask(ctx context.Context, m rollout.Measure, query string, agents []wire.AgentID) (*float64, error) {
	if strings.Contains(query, placeholder) {
		if len(agents) == 0 {
			return nil, nil
		}
		query = strings.ReplaceAll(query, placeholder, alternation(agents))
	}
	status, body, err := p.source.post(ctx, question{
		id: m.ID(), path: "api/v1/query", contentType: "application/x-www-form-urlencoded",
		body: []byte(url.Values{"query": {query}}.Encode()), limit: maxNumber,
	})
	if err != nil {
		return nil, err
	}
	return p.number(status, body)
}

// alternation returns a regular expression of agents, in a group of its own. Names need no
// escaping in it, whichever quotes are around it.
func alternation(agents []wire.AgentID) string {
	names := make([]string, len(agents))
	for i, a := range agents {
		names[i] = string(a)
	}
	return "(?:" + strings.Join(names, "|") + ")"
}

// reply is an answer of /api/v1/query, https://prometheus.io/docs/prometheus/latest/querying/api.
type reply struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Data      struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

func (p *Prometheus) number(status int, body []byte) (*float64, error) {
	var r reply
	err := json.Unmarshal(body, &r)
	switch {
	case status != http.StatusOK && err == nil && r.Error != "":
		return nil, fmt.Errorf("%s: %s", answers(status), p.source.clean(r.ErrorType+": "+r.Error))
	case status != http.StatusOK:
		return nil, errors.New(answers(status))
	case err != nil:
		return nil, fmt.Errorf("the answer is not one of Prometheus: %s", p.source.clean(err.Error()))
	case r.Status != "success":
		return nil, fmt.Errorf("it reports %s", p.source.clean(fmt.Sprintf("%q: %s: %s", r.Status, r.ErrorType, r.Error)))
	}
	for _, w := range r.Warnings {
		// Servers of some versions put their hints beside the warnings. A warning may mean
		// that a part of the data was out of reach.
		if !strings.HasPrefix(w, "PromQL info:") {
			return nil, fmt.Errorf("it warns: %s", p.source.clean(w))
		}
	}
	switch r.Data.ResultType {
	case "scalar":
		return p.point(r.Data.Result)
	case "vector":
		var series []struct {
			Value     json.RawMessage `json:"value"`
			Histogram json.RawMessage `json:"histogram"`
		}
		if err := json.Unmarshal(r.Data.Result, &series); err != nil {
			return nil, fmt.Errorf("the answer's result is no vector: %s", p.source.clean(err.Error()))
		}
		switch {
		case len(series) == 0:
			return nil, nil
		case len(series) > 1:
			return nil, fmt.Errorf("it gives %d numbers; the query must give one, as sum(…) does", len(series))
		case series[0].Histogram != nil:
			return nil, errors.New("it gives a histogram; the query must give one number, as histogram_quantile(…) does")
		}
		return p.point(series[0].Value)
	}
	return nil, fmt.Errorf("it gives %s; the query must give one number", p.source.clean(fmt.Sprintf("a result of type %q", r.Data.ResultType)))
}

// An answer carries the time that it is of: now or, from servers that give the sample's own time,
// up to Prometheus' lookback ago. The clocks may differ.
const (
	maxAge   = 5 * time.Minute
	maxAhead = time.Minute
)

// point reads [time, "number"]. What is not finite is no data, and what is not of now an error:
// it tells nothing of the release.
func (p *Prometheus) point(data json.RawMessage) (*float64, error) {
	var pair []json.RawMessage
	var at float64
	var text string
	err := json.Unmarshal(data, &pair)
	if err == nil && len(pair) != 2 {
		err = fmt.Errorf("%d elements", len(pair))
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(pair[0], &at), json.Unmarshal(pair[1], &text))
	}
	var n float64
	if err == nil {
		n, err = strconv.ParseFloat(text, 64)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer's value is not a time and a number: %s", p.source.clean(err.Error()))
	}
	if age := float64(time.Now().UnixMilli())/1000 - at; age > maxAge.Seconds() || age < -maxAhead.Seconds() {
		return nil, fmt.Errorf("its value is %.4g s old, not of now", age)
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil, nil
	}
	return &n, nil
}
