package rollout

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/controller/internal/schematest"
	"github.com/ebbgate/ebbgate/wire"
)

type object = schematest.Object

// planSchema makes the schema from the types, and from what validate.go holds them to.
func planSchema(t *testing.T) object {
	docs := schematest.ReadDocs(t, ".")
	amount, duration := reflect.TypeFor[Amount](), reflect.TypeFor[wire.Duration]()
	g := &schematest.Generator{
		Ref: "#/$defs/", Docs: docs,
		Schemas: object{
			"rollout.Amount": object{"description": docs.Type(amount), "anyOf": []object{
				{"type": "integer", "minimum": 0},
				{"type": "string", "pattern": `^((0|[1-9][0-9]*)|(0|[1-9][0-9]?|100)%)$`},
			}},
			"wire.Duration": object{"description": "30s, 1m30s or 0", "anyOf": []object{
				{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`},
				{"const": 0},
			}},
		},
		Types: map[reflect.Type]object{
			reflect.TypeFor[int](): {"type": "integer", "minimum": 0},
			amount:                 {"$ref": "#/$defs/rollout.Amount"},
			duration:               {"$ref": "#/$defs/wire.Duration"},
		},
	}
	root := g.Of(reflect.TypeFor[Plan]())
	of := func(name string) object { return g.Schemas["rollout."+name].(object) }
	for name, required := range map[string][]string{
		"Plan": {"waves"}, "Wave": {"regions"}, "PlanStep": {"activate"}, "Growth": {}, "Gate": {"name"}, "Window": {"from", "until"},
	} {
		of(name)["additionalProperties"], of(name)["required"] = false, required
	}
	for field, more := range map[string]object{
		"Plan.waves":            {"minItems": 1, "maxItems": maxWaves},
		"Plan.on_purge_failure": {"enum": []OnFailure{HoldOnly, RevertWave}},
		"Plan.gates":            {"maxItems": maxGates},
		"Plan.freeze":           {"maxItems": maxWindows},
		"Wave.regions":          {"minItems": 1, "maxItems": maxRegions},
		"Wave.steps":            {"maxItems": maxSteps},
		"Wave.approve":          {"maximum": maxApprovals},
		"PlanStep.approve":      {"maximum": maxApprovals},
		"Gate.query":            {"maxLength": maxQuery},
		"Gate.samples":          {"maxLength": maxQuery},
		"Gate.min_samples":      {"minimum": 0},
		"Gate.max_ratio":        {"exclusiveMinimum": 0},
		"Gate.failures":         {"minimum": 1, "maximum": 100},
		"Growth.factor":         {"minimum": 2, "maximum": 100},
		"Window.days":           {"items": object{"enum": weekdays}},
	} {
		name, property, _ := strings.Cut(field, ".")
		maps.Copy(of(name)["properties"].(object)[property].(object), more)
	}
	purge := of("Plan")["properties"].(object)["on_purge_failure"].(object)
	purge["description"] = onlyWords(purge["description"].(string), HoldOnly, RevertWave)
	defaults(t, of("Plan"), basePlan())
	defaults(t, of("Gate"), baseGate())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Ebbgate rollout plan"
	root["$defs"] = g.Schemas
	return root
}

// onlyWords leaves out of a description the words of the type that the field does not take.
func onlyWords(description string, taken ...OnFailure) string {
	lines := strings.Split(description, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		word, _, _ := strings.Cut(line, ":")
		return slices.Contains([]OnFailure{RevertStep, RevertWave, RevertAll, HoldOnly}, OnFailure(word)) && !slices.Contains(taken, OnFailure(word))
	}), "\n")
}

// defaults notes what a field that is left out counts as.
func defaults(t *testing.T, s object, base any) {
	t.Helper()
	data, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	var values object
	if err := json.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		if v != nil && v != "" {
			s["properties"].(object)[name].(object)["default"] = v
		}
	}
}

// The committed schema is what the types say. Run with -update to write it anew.
func TestPlanSchema(t *testing.T) {
	want := string(schematest.Encode(t, planSchema(t)))
	if *update {
		if err := os.WriteFile("plan.schema.json", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(PlanSchema, want); diff != "" {
		t.Errorf("plan.schema.json is not what the types say; run go test -run TestPlanSchema -update ./controller/rollout\n%s", diff)
	}
}

// everything is a plan with every field there is.
const everything = `
waves:
- regions: [eu-west]
  strategy: blue-green
  steps:
  - {activate: 1, bake: 30s, gates: [errors], approve: 1}
  - activate: 100%
  max_parallel: 1
  bake: 0
  gates: [errors, smoke]
  approve: 2
- regions: [us-east]
  growth: {linear: 20%, bake: 1m30s}
- regions: [us-west]
  growth: {exponential: 1%, factor: 3}
max_unavailable: 10%
max_unreachable: 1
max_failures: 2
healthy: 5s
soak: 10m
deadline: 3m
approve_within: 8h
on_failure: hold
on_purge_failure: revert-wave
gates:
- name: errors
  prometheus: main
  query: sum(rate(errors{agent=~"$agents"}[1m]))
  samples: sum(increase(requests{agent=~"$agents"}[1m]))
  min_samples: 100
  min: 0
  max: 0.01
  max_ratio: 1.5
  interval: 30s
  failures: 2
- {name: smoke, webhook: tests}
freeze:
- {days: [fri, sat], from: "16:00", until: "08:00", reason: weekend}
- {from: 2026-12-23T18:00:00Z, until: 2027-01-02T06:00:00Z}
`

// compiled returns the schema as a program uses it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(PlanSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("plan.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is a YAML document as a schema sees it. A time is a string there.
func document(t *testing.T, text string) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return value(t, n.Content[0])
}

func value(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch {
	case n.Kind == yaml.MappingNode:
		m := object{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = value(t, n.Content[i+1])
		}
		return m
	case n.Kind == yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, value(t, c))
		}
		return list
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool":
		return n.Value == "true"
	case n.Tag == "!!int" || n.Tag == "!!float":
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	return n.Value
}

// Good plans are good for the schema, too, in YAML and as the API writes them.
func TestPlanSchemaTakes(t *testing.T) {
	s := compiled(t)
	fleet := []wire.Region{"ap-south", "eu-west", "us-east", "us-west"}
	for name, text := range map[string]string{"full": fullPlan, "everything": everything, "least": "waves: [{regions: [eu-west]}]"} {
		p, err := ParsePlan(name, []byte(text))
		if err == nil {
			err = p.Validate(fleet)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Validate(document(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(document(t, string(data))); err != nil {
			t.Errorf("%s as JSON: %v", name, err)
		}
	}
	def, err := json.Marshal(DefaultPlan(fleet))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(document(t, string(def))); err != nil {
		t.Errorf("default plan: %v", err)
	}
}

// The parser and the schema know the same fields, and the plan with everything has them.
func TestPlanSchemaFields(t *testing.T) {
	var schema struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(PlanSchema), &schema); err != nil {
		t.Fatal(err)
	}
	used := make(map[string][]string) // field → names below it
	var walk func(field string, v any)
	walk = func(field string, v any) {
		switch v := v.(type) {
		case object:
			for _, name := range wire.Keys(v) {
				if !slices.Contains(used[field], name) {
					used[field] = append(used[field], name)
				}
				walk(name, v[name])
			}
		case []any:
			for _, item := range v {
				walk(field, item)
			}
		}
	}
	walk("", document(t, everything))
	for name, at := range map[string]struct{ field, unknown string }{
		"Plan":     {"", "x: 1"},
		"Wave":     {"waves", "waves: [{x: 1}]"},
		"PlanStep": {"steps", "waves: [{steps: [{x: 1}]}]"},
		"Growth":   {"growth", "waves: [{growth: {x: 1}}]"},
		"Gate":     {"gates", "gates: [{x: 1}]"},
		"Window":   {"freeze", "freeze: [{x: 1}]"},
	} {
		_, err := ParsePlan("p", []byte(at.unknown))
		_, list, listed := strings.Cut(err.Error(), "x: is not a field; want one of ")
		if !listed {
			t.Fatalf("%s: %v", name, err)
		}
		said := wire.Keys(schema.Defs["rollout."+name].Properties)
		if diff := cmp.Diff(strings.Split(list, ", "), said); diff != "" {
			t.Errorf("%s: parser and schema differ (-parser +schema):\n%s", name, diff)
		}
		slices.Sort(used[at.field])
		if diff := cmp.Diff(said, used[at.field]); diff != "" {
			t.Errorf("%s: the plan with everything differs (-schema +plan):\n%s", name, diff)
		}
	}
	if n := len(schema.Defs); n != 8 {
		t.Errorf("%d types, want the six above, amounts and durations", n)
	}
}

// What the schema refuses is refused without it, too.
func TestPlanSchemaRefuses(t *testing.T) {
	s := compiled(t)
	fleet := []wire.Region{"a", "b", "c"}
	wave, gate := "waves: [{regions: [a]", "waves: [{regions: [a]}]\ngates: [{name: g, prometheus: p, query: q, max: 1"
	for name, text := range map[string]string{
		"a list":            "[]",
		"no waves":          "{}",
		"empty waves":       "waves: []",
		"no regions":        "waves: [{bake: 1m}]",
		"empty regions":     "waves: [{regions: []}]",
		"region of a kind":  "waves: [{regions: [{name: a}]}]",
		"field of the plan": wave + "}]\nwave: 1",
		"field of a wave":   wave + ", speed: 1}]",
		"field of a step":   wave + ", steps: [{activate: 100%, pause: 1m}]}]",
		"field of growth":   wave + ", growth: {linear: 10%, by: 2}}]",
		"field of a gate":   gate + ", url: x}]",
		"field of a window": wave + "}]\nfreeze: [{from: 1, until: 2, zone: x}]",
		"strategy":          wave + ", strategy: yolo}]",
		"on_failure":        wave + "}]\non_failure: cry",
		"day":               wave + "}]\nfreeze: [{days: [monday], from: '16:00', until: '17:00'}]",
		"no until":          wave + "}]\nfreeze: [{days: [mon], from: '16:00'}]",
		"duration":          wave + ", bake: soon}]",
		"bare number":       wave + ", bake: 5}]",
		"negative":          wave + ", bake: -5s}]",
		"amount":            wave + "}]\nmax_unavailable: half",
		"fraction":          wave + "}]\nmax_unavailable: 0.5",
		"above all":         wave + "}]\nmax_unreachable: 101%",
		"below none":        wave + "}]\nmax_failures: -1",
		"words":             wave + "}]\nmax_failures: two",
		"a step for a list": wave + ", steps: {activate: 100%}}]",
		"no activate":       wave + ", steps: [{bake: 1m}, {activate: 100%}]}]",
		"approve":           wave + ", approve: 11}]",
		"growth":            wave + ", growth: [10%]}]",
		"factor":            wave + ", growth: {exponential: 1%, factor: 1}}]",
		"no name":           "waves: [{regions: [a]}]\ngates: [{webhook: w}]",
		"limit":             gate + "%}]",
		"ratio":             gate + ", max_ratio: 0}]",
		"failures":          gate + ", failures: 0}]",
		"min_samples":       gate + ", samples: s, min_samples: -1}]",
	} {
		if err := s.Validate(document(t, text)); err == nil {
			t.Errorf("%s: the schema takes %s", name, text)
		}
		p, err := ParsePlan("p", []byte(text))
		if err == nil {
			err = p.Validate(fleet)
		}
		if err == nil {
			t.Errorf("%s: the controller takes %s", name, text)
		}
	}
	many := wave + "}]\nfreeze: [" + strings.Repeat("{days: [mon], from: '16:00', until: '17:00'},", maxWindows+1) + "]"
	if err := s.Validate(document(t, many)); err == nil {
		t.Error("the schema takes any number of windows")
	}
}
