package gate_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func some(f float64) *float64 { return &f }

// What a server answers, and the number it is; nil is no data.
func TestNumbers(t *testing.T) {
	now := fmt.Sprint(time.Now().Unix())
	for answer, want := range map[string]*float64{
		vectorOf(time.Now().Add(-4*time.Minute), "1"): some(1),
		vectorOf(time.Now().Add(30*time.Second), "1"): some(1),
		vector("0.25"): some(0.25),
		vector("0"):    some(0),
		vector("-1e3"): some(-1000),
		vector():       nil,
		vector("NaN"):  nil,
		vector("+Inf"): nil,
		vector("-Inf"): nil,
		`{"status":"success","data":{"resultType":"scalar","result":[` + now + `,"3"]}}`:                                                                             some(3),
		`{"status":"success","data":{"resultType":"scalar","result":[` + now + `,"NaN"]}}`:                                                                           nil,
		`{"status":"success","infos":["a hint"],"warnings":["PromQL info: a hint"],"data":{"resultType":"scalar","result":[` + now + `,"3"],"stats":{}},"new":true}`: some(3),
	} {
		m, err := open(t, "prometheus", serve(t, say(200, answer)), time.Minute).Read(t.Context(), measure())
		if err != nil {
			t.Errorf("%s: %v", answer, err)
			continue
		}
		if diff := cmp.Diff(rollout.Measured{Cohort: rollout.Sample{Value: want}}, m); diff != "" {
			t.Errorf("%s (-want +got):\n%s", answer, diff)
		}
	}
}

// asked answers each query with a number of its own and remembers it.
type asked struct {
	queries []string
	numbers map[string]string // query → number
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.PostFormValue("query")
	a.queries = append(a.queries, q)
	_, _ = io.WriteString(w, vector(a.numbers[q]))
}

// Who is asked about: the cohort, and the rest only for a ratio.
func TestWhoIsAskedAbout(t *testing.T) {
	const errs, hits = `sum(errors{agent=~"$agents"})`, `sum(hits{agent=~'$agents'})`
	numbers := map[string]string{
		`sum(errors{agent=~"(?:a1|a2)"})`: "1", `sum(hits{agent=~'(?:a1|a2)'})`: "100",
		`sum(errors{agent=~"(?:a3)"})`: "2", `sum(hits{agent=~'(?:a3)'})`: "200",
		"up": "9",
	}
	both := []wire.AgentID{"a1", "a2"}
	for name, c := range map[string]struct {
		gate         rollout.Gate
		cohort, rest []wire.AgentID
		want         rollout.Measured
		queries      int
	}{
		"cohort alone": {rollout.Gate{Query: errs}, both, []wire.AgentID{"a3"}, rollout.Measured{Cohort: rollout.Sample{Value: some(1)}}, 1},
		"samples":      {rollout.Gate{Query: errs, Samples: hits}, both, nil, rollout.Measured{Cohort: rollout.Sample{Value: some(1), Samples: some(100)}}, 2},
		"ratio": {rollout.Gate{Query: errs, Samples: hits, MaxRatio: some(2)}, both, []wire.AgentID{"a3"},
			rollout.Measured{Cohort: rollout.Sample{Value: some(1), Samples: some(100)}, Rest: rollout.Sample{Value: some(2), Samples: some(200)}}, 4},
		"ratio, alone":               {rollout.Gate{Query: errs, MaxRatio: some(2)}, both, nil, rollout.Measured{Cohort: rollout.Sample{Value: some(1)}, Alone: true}, 1},
		"nobody switched":            {rollout.Gate{Query: errs, Samples: hits}, nil, both, rollout.Measured{}, 0},
		"nobody, a query of the all": {rollout.Gate{Query: "up", Samples: hits}, nil, both, rollout.Measured{Cohort: rollout.Sample{Value: some(9)}}, 1},
	} {
		a := &asked{numbers: numbers}
		m := measure()
		m.Gate, m.Cohort, m.Rest = c.gate, c.cohort, c.rest
		got, err := open(t, "prometheus", serve(t, a.ServeHTTP), time.Minute).Read(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(a.queries) != c.queries {
			t.Errorf("%s: asked %q, want %d queries", name, a.queries, c.queries)
		}
	}
}

// A region of thousands is asked about in one query.
func TestManyAgents(t *testing.T) {
	m := measure()
	for i := range 5000 {
		m.Cohort = append(m.Cohort, wire.AgentID(fmt.Sprintf("agent-%060d", i)))
	}
	a := &asked{numbers: map[string]string{}}
	_, _ = open(t, "prometheus", serve(t, a.ServeHTTP), time.Minute).Read(t.Context(), m)
	if len(a.queries) != 1 || strings.Count(a.queries[0], "|") != 5001 || strings.Contains(a.queries[0], "$") {
		t.Errorf("%d queries", len(a.queries))
	}
}
