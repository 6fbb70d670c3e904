package stale

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

// What is counted as what: the region was activated at 100 with epoch 2, and its barrier
// was reached at 200.
func TestTally(t *testing.T) {
	eu := course{region: "eu-west", activated: 100, promised: []floor{{2, 200}}, floors: []floor{{2, 200}}}
	left := eu // an agent behind, whose purge was verified at 300
	left.promised = []floor{{2, 200}, {2, 300}}
	left.floors = left.promised[1:]
	back := eu // taken back at once
	back.promised = []floor{{2, 200}, {3, 300}}
	back.floors = back.promised
	ok := func(asked, answered int64, epoch wire.Epoch, hit bool) answer {
		return answer{region: "eu-west", tier: edge, kind: hot, status: 200, asked: asked, answered: answered, epoch: epoch, hit: hit}
	}
	type counts struct{ Unanswered, Failed, Torn, Cached, Old, Crossed, Behind, Stale, StaleHits, Fresh int }
	for name, tc := range map[string]struct {
		course course
		answer answer
		want   counts
	}{
		"no answer":                                {eu, answer{region: "eu-west", asked: 250}, counts{Unanswered: 1}},
		"an error":                                 {eu, answer{region: "eu-west", asked: 250, status: 503}, counts{Failed: 1}},
		"two versions":                             {eu, answer{region: "eu-west", asked: 250, status: 200, epoch: 2, torn: true}, counts{Torn: 1, Fresh: 1}},
		"cached before the activation":             {eu, ok(50, 51, 1, true), counts{Cached: 1}},
		"fetched before the activation":            {eu, ok(50, 51, 1, false), counts{}},
		"old before the barrier":                   {eu, ok(150, 151, 1, true), counts{Old: 1}},
		"new before the barrier":                   {eu, ok(150, 151, 2, true), counts{}},
		"old, asked before, answered after":        {eu, ok(199, 400, 1, false), counts{Old: 1, Crossed: 1}},
		"asked at the barrier":                     {eu, ok(200, 201, 1, false), counts{Old: 1, Crossed: 1}},
		"stale from the cache":                     {eu, ok(201, 202, 1, true), counts{Stale: 1, StaleHits: 1}},
		"stale from behind it":                     {eu, ok(201, 202, 1, false), counts{Stale: 1}},
		"fresh":                                    {eu, ok(201, 202, 2, false), counts{Fresh: 1}},
		"newer than the barrier":                   {eu, ok(201, 202, 3, false), counts{Fresh: 1}},
		"from an agent left behind":                {left, ok(250, 251, 1, true), counts{Behind: 1}},
		"stale once that is purged":                {left, ok(301, 302, 1, true), counts{Stale: 1, StaleHits: 1}},
		"what was taken back, before":              {back, ok(250, 251, 2, true), counts{Old: 1}},
		"older than what was taken back, before":   {back, ok(250, 251, 1, true), counts{Stale: 1, StaleHits: 1}},
		"what was taken back, after":               {back, ok(301, 302, 2, true), counts{Stale: 1, StaleHits: 1}},
		"without a barrier nothing is held to one": {course{region: "eu-west"}, ok(250, 251, 1, true), counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := tally([]answer{tc.answer}, []course{tc.course})
			got := counts{c.unanswered, c.failed, c.torn, c.cached, c.old, c.crossed, c.behind, c.stale, c.staleHits, c.fresh}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if c.requests != 1 || (c.stale > 0) != (len(c.samples) > 0) {
				t.Errorf("%d requests, samples %q", c.requests, c.samples)
			}
		})
	}
}

// A region, tier or kind of page that nobody asked for after the barrier is named.
func TestBlind(t *testing.T) {
	eu := course{region: "eu-west", activated: 100, promised: []floor{{2, 200}}, floors: []floor{{2, 200}}}
	us := course{region: "us-east"} // without a barrier
	var answers []answer
	for _, at := range tiers {
		for _, k := range kinds {
			answers = append(answers, answer{region: "eu-west", tier: at, kind: k, status: 200, asked: 201, epoch: 2})
		}
	}
	courses := []course{eu, us}
	if got := tally(answers, courses).blind(courses); len(got) > 0 {
		t.Errorf("%v, want none", got)
	}
	answers[len(answers)-1].asked = 199
	want := []population{{"eu-west", edge, slow}}
	if got := tally(answers, courses).blind(courses); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
