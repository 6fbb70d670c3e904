package rollout

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Gate is something measured outside the fleet that a step or a wave is held to. It asks
// either a Prometheus server or a webhook; both are named in the controller's
// configuration, so that a plan cannot make the controller call anyone else.
//
// A gate passes on its newest answer, if that was asked for after the bake and not much longer
// ago than Interval. A reading that is bad
// Failures times in a row fails the rollout at any time after the first agent switched. A
// source that does not answer, has no data or too few samples makes it hold: what is not
// known never passes.
type Gate struct {
	Name string `json:"name"`

	Prometheus string `json:"prometheus,omitempty"` // name of the server
	// Query gives one number. In it, $agents stands for a regular expression of the agents
	// whose number is asked for: those that switched, and the rest.
	Query      string   `json:"query,omitempty"`
	Samples    string   `json:"samples,omitempty"`     // query of how many events the number rests on, $agents as above
	MinSamples float64  `json:"min_samples,omitempty"` // fewer are no data; needs samples
	Min        *float64 `json:"min,omitempty"`         // least good number
	Max        *float64 `json:"max,omitempty"`         // greatest good number
	MaxRatio   *float64 `json:"max_ratio,omitempty"`   // of the number to that of the rest; needs min or max beside it

	// Webhook is the name of the webhook. It is asked with a POST in JSON, and answers within
	// 10 s with status 200 and {"verdict": "pass"}, or "fail" or "wait", with a "reason" if it
	// likes. "wait" and whatever is no such answer make the gate hold.
	Webhook string `json:"webhook,omitempty"`

	Interval wire.Duration `json:"interval"` // between readings; default 15s
	Failures int           `json:"failures"` // bad readings in a row that fail it; default 1
}

// unanswered is by how much more than the interval a reading may take before it is asked
// for again, and by how much older its answer may be and still count.
const unanswered = 30 * time.Second

func baseGate() Gate {
	return Gate{Interval: wire.Duration(15 * time.Second), Failures: 1}
}

const maxQuery = 4096

// check returns the field that is wrong, and why.
func (g Gate) check() (field, reason string) {
	if err := wire.CheckToken(g.Name); err != nil {
		return "name", err.Error()
	}
	prom := g.Prometheus != ""
	switch {
	case !prom && g.Webhook == "":
		return "prometheus", "or webhook is missing: a gate asks one of the two"
	case prom && g.Webhook != "":
		return "webhook", "is given beside prometheus: a gate asks one of the two"
	case !prom && (g.Query != "" || g.Samples != "" || g.MinSamples != 0 || g.Min != nil || g.Max != nil || g.MaxRatio != nil):
		return "webhook", "has a verdict of its own: query, samples and limits are of prometheus gates"
	case prom && g.Query == "":
		return "query", "is missing"
	case len(g.Query) > maxQuery:
		return "query", fmt.Sprintf("is longer than %d bytes", maxQuery)
	case len(g.Samples) > maxQuery:
		return "samples", fmt.Sprintf("is longer than %d bytes", maxQuery)
	case g.MinSamples < 0 || g.MinSamples > 0 != (g.Samples != ""):
		return "min_samples", "and samples go together"
	case prom && g.Min == nil && g.Max == nil:
		// A ratio alone would judge nothing once every agent has switched.
		return "max", "or min is missing"
	case g.Min != nil && g.Max != nil && *g.Min > *g.Max:
		return "min", "is above max"
	case g.MaxRatio != nil && *g.MaxRatio <= 0:
		return "max_ratio", "is not above 0"
	case g.MaxRatio != nil && !strings.Contains(g.Query, "$agents"):
		return "query", "does not say $agents, so there is nothing to compare by max_ratio"
	case g.Interval.Std() < time.Second || g.Interval.Std() > time.Hour:
		return "interval", fmt.Sprintf("is %s, want 1s to 1h", g.Interval)
	case g.Failures < 1 || g.Failures > 100:
		return "failures", fmt.Sprintf("is %d, want 1 to 100", g.Failures)
	}
	return "", ""
}

// source names whom the gate asks.
func (g Gate) source() string {
	if g.Webhook != "" {
		return "webhook " + g.Webhook
	}
	return "prometheus " + g.Prometheus
}

// Verdict is what a reading says.
type Verdict string

// The verdicts.
const (
	VerdictPass Verdict = "pass"
	VerdictFail Verdict = "fail"
	VerdictNone Verdict = "none" // no data: never passes, never fails
)

// Sample is a number and how many events it rests on. Nil: there is none.
type Sample struct {
	Value   *float64 `json:"value,omitempty"`
	Samples *float64 `json:"samples,omitempty"`
}

// Reading is the newest measurement of a gate in a region.
type Reading struct {
	Gate     string    `json:"gate"`
	Round    int       `json:"round"` // of asking, from 1 in each change of the region
	Asked    time.Time `json:"asked"`
	Answered int       `json:"answered"`       // round that the rest is of; below Round: an answer is awaited
	Taken    time.Time `json:"taken,omitzero"` // when that round was asked

	Cohort  Sample  `json:"cohort,omitzero"` // of the agents that switched
	Rest    Sample  `json:"rest,omitzero"`   // of those it is compared with
	Verdict Verdict `json:"verdict,omitempty"`
	Text    string  `json:"text,omitempty"` // number, limits and samples in a sentence
	Bad     int     `json:"bad,omitempty"`  // bad readings in a row
}

// judge reads an answer: verdict and the sentence a person needs.
func (g Gate) judge(m Measured) (Verdict, string) {
	switch {
	case m.Error != "":
		return VerdictNone, fmt.Sprintf("%s gives no answer: %s", g.source(), m.Error)
	case g.Webhook != "":
		return g.judgeWord(m)
	}
	n, why := m.Cohort.known(g.MinSamples)
	if why != "" {
		return VerdictNone, fmt.Sprintf("%s has %s for the agents that switched", g.source(), why)
	}
	over := ""
	if m.Cohort.Samples != nil {
		over = fmt.Sprintf(" over %s samples", number(*m.Cohort.Samples))
		if g.MinSamples > 0 {
			over += fmt.Sprintf(" (at least %s)", number(g.MinSamples))
		}
	}
	switch {
	case g.Max != nil && n > *g.Max:
		return VerdictFail, fmt.Sprintf("%s is above the limit of %s%s", number(n), number(*g.Max), over)
	case g.Min != nil && n < *g.Min:
		return VerdictFail, fmt.Sprintf("%s is below the limit of %s%s", number(n), number(*g.Min), over)
	}
	limits := ""
	if g.Min != nil {
		limits += fmt.Sprintf(", at least %s", number(*g.Min))
	}
	if g.Max != nil {
		limits += fmt.Sprintf(", at most %s", number(*g.Max))
	}
	if g.MaxRatio == nil {
		return VerdictPass, number(n) + limits + over
	}
	if m.Alone {
		return VerdictPass, number(n) + limits + over + "; no agent is left to compare with"
	}
	rest, why := m.Rest.known(g.MinSamples)
	switch {
	case why != "":
		return VerdictNone, fmt.Sprintf("%s has %s for the agents to compare with", g.source(), why)
	case rest <= 0:
		return VerdictPass, fmt.Sprintf("%s%s%s; the rest is at %s, which no ratio can be of", number(n), limits, over, number(rest))
	case n > *g.MaxRatio*rest:
		return VerdictFail, fmt.Sprintf("%s is %s times the %s of the rest, at most %s times is allowed%s", number(n), number(n/rest), number(rest), number(*g.MaxRatio), over)
	}
	return VerdictPass, fmt.Sprintf("%s%s%s; %s times the %s of the rest, at most %s", number(n), limits, over, number(n/rest), number(rest), number(*g.MaxRatio))
}

func (g Gate) judgeWord(m Measured) (Verdict, string) {
	word := m.Reason
	if word == "" {
		word = "without a reason"
	}
	switch m.Verdict {
	case VerdictPass, VerdictFail:
		return m.Verdict, fmt.Sprintf("%s says %s: %s", g.source(), m.Verdict, word)
	}
	return VerdictNone, fmt.Sprintf("%s does not say pass or fail: %s", g.source(), word)
}

// known returns the number, or what is missing.
func (s Sample) known(least float64) (n float64, missing string) {
	switch {
	case least > 0 && s.Samples == nil:
		return 0, "no samples"
	case least > 0 && !(*s.Samples >= least):
		return 0, fmt.Sprintf("%s samples, at least %s are wanted,", number(*s.Samples), number(least))
	case s.Value == nil || math.IsNaN(*s.Value) || math.IsInf(*s.Value, 0):
		return 0, "no data"
	}
	return *s.Value, ""
}

// number writes a measured number for people, to four digits.
func number(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }
