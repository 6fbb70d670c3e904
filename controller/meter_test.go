package controller_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/gate"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// meter stands in for a Prometheus server whose numbers are those of agents: sum(errors) over
// sum(requests) of those asked about.
type meter struct {
	source *gate.Prometheus

	mu       sync.Mutex // guards all below
	dead     bool
	errors   map[wire.AgentID]float64 // in each agent's requests
	requests float64                  // of each agent
	asked    [][]string               // agents of each query
}

func newMeter(t *testing.T) *meter {
	m := &meter{errors: make(map[wire.AgentID]float64), requests: 1000}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	var err error
	m.source, err = gate.NewPrometheus(gate.Config{URL: server.URL, Timeout: 5 * time.Second})
	must(t, err)
	return m
}

// sources makes the meter the server named main.
func (m *meter) sources(cfg *controller.Config) {
	cfg.Gates.Prometheus = map[string]controller.GateSource{"main": m.source}
}

// set changes what the meter says while it is asked.
func (m *meter) set(change func(*meter)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

var names = regexp.MustCompile(`\(\?:([a-z0-9|-]+)\)`)

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	query := r.PostFormValue("query")
	found := names.FindStringSubmatch(query)
	if m.dead || found == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	agents := strings.Split(found[1], "|")
	m.asked = append(m.asked, agents)
	requests, errors := m.requests*float64(len(agents)), 0.0
	for _, a := range agents {
		errors += m.errors[wire.AgentID(a)]
	}
	n := requests
	if strings.HasPrefix(query, "ratio") {
		n = errors / requests
	}
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d,"%g"]}]}}`, time.Now().Unix(), n)
}

// errorRate is a gate on the meter: at most 5% of at least 100 requests, at most three times
// the rest.
func errorRate() rollout.Gate {
	limit, ratio := 0.05, 3.0
	return rollout.Gate{
		Name: "errors", Prometheus: "main", Query: `ratio{agent=~"$agents"}`, Samples: `requests{agent=~"$agents"}`,
		MinSamples: 100, Max: &limit, MaxRatio: &ratio, Interval: wire.Duration(time.Second), Failures: 1,
	}
}

// canary takes one agent of a region first, then its others, and each wave as plan does.
func canary(waves ...[]wire.Region) *rollout.Plan {
	p := plan(waves...)
	p.Waves[0].Strategy = rollout.StrategyCanary
	p.Waves[0].Steps = []rollout.PlanStep{{Activate: rollout.Count(1)}, {Activate: rollout.Share(100)}}
	return p
}

func gated(p *rollout.Plan, gates ...rollout.Gate) *rollout.Plan {
	p.Gates = gates
	return p
}

// begin starts a rollout.
func (f *fleet) begin(d *driver, req controller.StartRequest) {
	f.t.Helper()
	_, err := d.Start(f.t.Context(), req, "op")
	must(f.t, err)
}

// waits waits until a region holds for the reason, which has to hold a text.
func (f *fleet) waits(d *driver, r wire.Region, kind rollout.HoldKind, text string) (h rollout.Hold) {
	f.t.Helper()
	eventually(f.t, func() error {
		v, err := d.App(f.t.Context(), edge)
		must(f.t, err)
		if v.Rollout.Status.Ended() {
			f.t.Fatalf("the rollout is %s, instead of holding", v.Rollout.Status)
		}
		for _, s := range v.Summary.Regions {
			if s.Region == r && s.Hold != nil && s.Hold.Kind == kind && strings.Contains(s.Hold.Reason, text) {
				h = *s.Hold
				return nil
			}
		}
		return fmt.Errorf("%s does not hold for %s with %q: %s %s", r, kind, text, v.Rollout.Status, v.Summary.Rollout.Reason)
	})
	return h
}

// command gives a command in somebody's name.
func (f *fleet) command(d *driver, name, by string) {
	f.t.Helper()
	_, err := d.Command(f.t.Context(), edge, name, rollout.Of{}, by)
	must(f.t, err)
}

// explains checks that one line of explain holds all the words.
func (f *fleet) explains(d *driver, words ...string) {
	f.t.Helper()
	if err := f.explained(d, words...); err != nil {
		f.t.Error(err)
	}
}

// explained reports whether one line of explain holds all the words.
func (f *fleet) explained(d *driver, words ...string) error {
	f.t.Helper()
	v, err := d.App(f.t.Context(), edge)
	must(f.t, err)
	for _, line := range v.Explain {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return nil
		}
	}
	return fmt.Errorf("no line of explain has %q:\n%s", words, strings.Join(v.Explain, "\n"))
}
