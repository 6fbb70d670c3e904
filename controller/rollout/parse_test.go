package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

const fullPlan = `
waves:
- regions: [eu-west]
  strategy: canary
  steps:
  - {activate: 1, bake: 30s}
  - {activate: 25%, bake: 1m}
  - activate: 100%
  bake: 5m
- regions: [us-east, us-west]
  max_parallel: 1
max_unavailable: 10%
max_unreachable: 1
max_failures: 2
healthy: 5s
soak: 10m
deadline: 3m
on_failure: revert-all
`

func TestParsePlan(t *testing.T) {
	want := Plan{
		Waves: []Wave{
			{Regions: []wire.Region{"eu-west"}, Strategy: StrategyCanary, Bake: wire.Duration(5 * time.Minute), Steps: []PlanStep{
				{Activate: Count(1), Bake: wire.Duration(30 * time.Second)}, {Activate: Share(25), Bake: wire.Duration(time.Minute)}, {Activate: Share(100)},
			}},
			{Regions: []wire.Region{"us-east", "us-west"}, Strategy: StrategyRolling, MaxParallel: 1},
		},
		MaxUnavailable: Share(10), MaxUnreachable: Count(1), MaxFailures: 2,
		Healthy: wire.Duration(5 * time.Second), Soak: wire.Duration(10 * time.Minute), Deadline: wire.Duration(3 * time.Minute), ApproveWithin: wire.Duration(24 * time.Hour),
		OnFailure: RevertAll, OnPurgeFailure: HoldOnly,
	}
	got, err := ParsePlan("plan.yaml", []byte(fullPlan))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePlan("plan.json", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("as JSON, -want +got:\n%s", diff)
	}
	if err := got.Validate([]wire.Region{"eu-west", "us-east", "us-west"}); err != nil {
		t.Error(err)
	}
}

func TestFieldLine(t *testing.T) {
	for field, want := range map[string]int{
		"waves": 2, "waves[0].steps[1].activate": 7, "waves[1].max_parallel": 11, "waves[1].bake": 10, "waves[7].regions": 2,
		"on_failure": 18, "nothing": 0, "waves[0].regions[0]": 3,
	} {
		if got := FieldLine([]byte(fullPlan), field); got != want {
			t.Errorf("%s is on line %d, want %d", field, got, want)
		}
	}
}

func TestParsePlanRefuses(t *testing.T) {
	for name, c := range map[string]struct{ plan, want string }{
		"empty":          {"", "p: invalid document: empty"},
		"not YAML":       {"waves: [", "p: invalid document: line 1:"},
		"two documents":  {"waves: []\n---\nwaves: []", "p: invalid document: holds more than one document"},
		"a list":         {"- a", "p:1: plan: is not a mapping"},
		"unknown field":  {"waves:\n- regions: [eu]\n  speed: 1", "p:3: waves[0].speed: is not a field; want one of approve, bake, gates, growth, max_parallel, regions, steps, strategy"},
		"repeated field": {"soak: 1s\nsoak: 2s", "p:2: soak: appears twice"},
		"duration":       {"waves:\n- regions: [eu]\n  bake: 5x", `p:3: waves[0].bake: "5x" is not a duration like 30s or 1m30s`},
		"amount":         {"max_unavailable: 101%", `p:1: max_unavailable: "101%" is more than 100%`},
		"fraction":       {"max_unavailable: 0.5", `p:1: max_unavailable: "0.5" is not an amount like 3 or 25%`},
		"number":         {"max_failures: -1", `p:1: max_failures: "-1" is not a number from 0`},
		"null":           {"soak:", "p:1: soak: is not a value"},
		"alias":          {"soak: &a 1s\nhealthy: *a", "p:2: healthy: is not a value"},
		"merge":          {"a: &a {soak: 1s}\n<<: *a", "p:1: a: is not a field"},
		"mapping":        {"waves: {a: b}", "p:1: waves: is not a list"},
		"too large":      {strings.Repeat("#", maxPlan+1), "p: document too large: 262145 bytes, at most 262144"},
	} {
		_, err := ParsePlan("p", []byte(c.plan))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s…", name, err, c.want)
		}
		if !errors.Is(err, wire.ErrInvalid) && !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s: %v is neither ErrInvalid nor ErrTooLarge", name, err)
		}
	}
}

func TestPlanValidate(t *testing.T) {
	known := []wire.Region{"a", "b", "c", "d", "e"}
	if err := DefaultPlan(known).Validate(known); err != nil {
		t.Errorf("default plan: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*Plan)
		want   string
	}{
		"no waves":         {func(p *Plan) { p.Waves = nil }, "plan: waves: are 0, want 1 to 100"},
		"no regions":       {func(p *Plan) { p.Waves[1].Regions = nil }, "plan: waves[1].regions: are missing"},
		"unknown region":   {func(p *Plan) { p.Waves[0].Regions[0] = "x" }, `plan: waves[0].regions[0]: is "x", not a region of the fleet`},
		"region twice":     {func(p *Plan) { p.Waves[1].Regions[1] = "a" }, `plan: waves[1].regions[1]: is "a", already in waves[0]`},
		"all at once":      {func(p *Plan) { p.MaxUnavailable = Share(100) }, "plan: max_unavailable: is 100% and waves[1] is rolling: all agents would switch at once; use canary steps"},
		"none at all":      {func(p *Plan) { p.MaxUnavailable = Count(0) }, "plan: max_unavailable: is 0, want at least 1"},
		"all unreachable":  {func(p *Plan) { p.MaxUnreachable = Share(100) }, "plan: max_unreachable: is 100%, want less than 100%"},
		"steps of rolling": {func(p *Plan) { p.Waves[1].Steps = []PlanStep{{Activate: Share(100)}} }, "plan: waves[1].steps: need strategy canary or blue-green"},
		"not to the end":   {func(p *Plan) { p.Waves[0].Steps = p.Waves[0].Steps[:2] }, "plan: waves[0].steps[1].activate: is 10%, the last step has to be 100%"},
		"going down":       {func(p *Plan) { p.Waves[0].Steps[2].Activate = Share(5) }, "plan: waves[0].steps[2].activate: is 5%, not above the step before"},
		"last bake":        {func(p *Plan) { p.Waves[0].Steps[3].Bake = 1 }, "plan: waves[0].steps[3]: is the last step: bake, gates and approve of the wave follow it"},
		"strategy":         {func(p *Plan) { p.Waves[0].Strategy = "yolo" }, `plan: waves[0].strategy: is "yolo", want rolling, canary or blue-green`},
		"on failure":       {func(p *Plan) { p.OnFailure = "" }, `plan: on_failure: is "", want revert-step, revert-wave, revert-all or hold`},
		"healthy":          {func(p *Plan) { p.Healthy = p.Deadline }, "plan: healthy: is 10m0s, not below the deadline of 10m0s"},
		"deadline":         {func(p *Plan) { p.Deadline = 0 }, "plan: deadline: is 0s, want 1s to 24h"},
		"one step of all": {func(p *Plan) {
			p.MaxUnavailable, p.Waves = Share(100), p.Waves[:1]
			p.Waves[0].Steps = []PlanStep{{Activate: Share(100)}}
		}, "plan: waves[0].steps[0].activate: is 100% in one step"},
	} {
		p := DefaultPlan(known)
		c.change(&p)
		if err := p.Validate(known); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// Windows that come every week may follow one another without a gap, but not all around it.
func TestEndlessFreeze(t *testing.T) {
	known := []wire.Region{"a", "b"}
	week := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	for name, c := range map[string]struct {
		freeze []Window
		free   bool
	}{
		"every day all day":        {[]Window{{Days: week, From: "00:00", Until: "00:00"}}, false},
		"from any time on":         {[]Window{{Days: week, From: "16:30", Until: "16:30"}}, false},
		"one after the other":      {[]Window{{Days: week, From: "06:00", Until: "18:00"}, {Days: week, From: "17:00", Until: "06:00"}}, false},
		"beside one that ends":     {[]Window{{From: "2026-12-23T18:00:00Z", Until: "2027-01-02T06:00:00Z"}, {Days: week, From: "00:00", Until: "00:00"}}, false},
		"but for a minute a day":   {[]Window{{Days: week, From: "00:00", Until: "23:59"}}, true},
		"but for a minute a week":  {[]Window{{Days: week[:6], From: "00:00", Until: "00:00"}, {Days: week[6:], From: "00:01", Until: "00:00"}}, true},
		"but for Wednesday":        {[]Window{{Days: append(week[:2:2], week[3:]...), From: "00:00", Until: "00:00"}}, true},
		"long, but with an end":    {[]Window{{From: "0001-01-01T00:00:00Z", Until: "9999-12-31T23:59:59Z"}}, true},
		"a minute that one covers": {[]Window{{Days: week, From: "00:00", Until: "23:59"}, {From: "0001-01-01T00:00:00Z", Until: "9999-12-31T23:59:59Z"}}, true},
		"nothing":                  {nil, true},
	} {
		p := DefaultPlan(known)
		p.Freeze = c.freeze
		const want = "plan: freeze: leaves no moment of the week free: nothing would ever begin"
		if err := p.Validate(known); (err == nil) != c.free || err != nil && err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAmount(t *testing.T) {
	for _, c := range []struct {
		amount         Amount
		n, floor, ceil int
	}{
		{Count(3), 10, 3, 3}, {Count(3), 2, 2, 2}, {Share(25), 10, 2, 3}, {Share(100), 7, 7, 7}, {Share(1), 10, 0, 1}, {Share(50), 0, 0, 0},
	} {
		if f, cl := c.amount.Floor(c.n), c.amount.Ceil(c.n); f != c.floor || cl != c.ceil {
			t.Errorf("%s of %d: %d and %d, want %d and %d", c.amount, c.n, f, cl, c.floor, c.ceil)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(fullPlan))
	f.Add([]byte(`{"waves":[{"regions":["eu"],"bake":"1m"}],"max_failures":3}`))
	f.Add([]byte("waves: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePlan("p", data)
		if err != nil {
			return
		}
		var known []wire.Region
		for _, w := range p.Waves {
			known = append(known, w.Regions...)
		}
		if p.Validate(known) != nil {
			return
		}
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		again, err := ParsePlan("p", encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if twice, err := json.Marshal(again); err != nil || string(encoded) != string(twice) {
			t.Errorf("%s became %s: %v", encoded, twice, err)
		}
	})
}

// A plan that was stored or shown is read whatever its size is and whoever has written it, with the
// defaults of a plan in a file.
func TestStoredPlan(t *testing.T) {
	const text = `{"waves": [{"regions": ["eu"], "strategy": "rolling"}], "max_unavailable": "2"}`
	want, err := ParsePlan("plan", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want.Waves[0].Regions[0] = wire.Region(strings.Repeat("r", maxPlan))
	data, err := wire.EncodeJSON(Record{App: "edge-proxy", Rollout: &Rollout{ID: "r1", Plan: want}})
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.NewReplacer(`"waves":[{`, `"hurry":{"much":true},"waves":[{"speed":7,`, `"soak":"5m0s",`, "").Replace(string(data))
	for what, stored := range map[string]string{"ours": string(data), "a newer build's": newer} {
		var got Record
		if err := json.Unmarshal([]byte(stored), &got); err != nil {
			t.Errorf("%s: %v", what, err)
		} else if diff := cmp.Diff(want, got.Rollout.Plan); diff != "" {
			t.Errorf("%s: -want +got:\n%s", what, diff)
		}
	}
	if len(newer) < maxPlan || newer == string(data) {
		t.Errorf("%d bytes, %t: not what is tested", len(newer), newer == string(data))
	}
}

// What is short as it comes in may be long as it is stored: that is refused.
func TestPlanTooLongToStore(t *testing.T) {
	known := make([]wire.Region, 100)
	var waves []string
	for w := range known {
		known[w] = wire.Region(fmt.Sprint("r", w))
		var steps []string
		for s := range 100 {
			steps = append(steps, fmt.Sprintf(`{"activate":"%d%%"}`, s+1))
		}
		waves = append(waves, fmt.Sprintf(`{"regions":[%q],"steps":[%s]}`, known[w], strings.Join(steps, ",")))
	}
	text := `{"waves":[` + strings.Join(waves, ",") + `]}`
	p, err := ParsePlan("plan", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	const want = "plan: waves: make a plan of 317291 bytes with all defaults spelled out, at most 262144 are allowed"
	if err := p.Validate(known); err == nil || err.Error() != want {
		t.Errorf("%d bytes: %v, want %s", len(text), err, want)
	}
}
