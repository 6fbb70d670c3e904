package rollout

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/wire"
)

// ParsePlan reads a plan from YAML, of which JSON is a part. Unknown and repeated fields
// are refused; fields left out take the defaults. name is the file's, for the error, which
// names line and field: `plan.yaml:7: waves[0].bake: "5x" is not a duration like 30s or
// 1m30s`. [Plan.Validate] checks what a plan says against the fleet.
func ParsePlan(name string, data []byte) (Plan, error) {
	if len(data) > maxPlan {
		return Plan{}, fmt.Errorf("%s: %w: %d bytes, at most %d", name, wire.ErrTooLarge, len(data), maxPlan)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Plan{}, fmt.Errorf("%s: %w: %s", name, wire.ErrInvalid, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return Plan{}, fmt.Errorf("%s: %w: empty", name, wire.ErrInvalid)
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if first := documents.Decode(new(yaml.Node)); first == nil && documents.Decode(new(yaml.Node)) == nil {
		return Plan{}, fmt.Errorf("%s: %w: holds more than one document", name, wire.ErrInvalid)
	}
	p := &planParser{name: name}
	plan := basePlan()
	p.plan(doc.Content[0], &plan)
	if p.err != nil {
		return Plan{}, p.err
	}
	return plan, nil
}

// UnmarshalJSON reads a plan as it was stored or shown, with the defaults of fields that are not
// there. It passes over fields that a newer build has written: who refuses one that a
// rollout runs by can lead no fleet. What comes in from outside is for [ParsePlan].
func (p *Plan) UnmarshalJSON(data []byte) error {
	type stored Plan
	s := stored(basePlan())
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	*p = Plan(s)
	return nil
}

// planParser keeps the first error.
type planParser struct {
	name string
	err  error
}

func (p *planParser) fail(n *yaml.Node, field, format string, args ...any) {
	if p.err == nil {
		p.err = &wire.FieldError{Doc: p.name + ":" + strconv.Itoa(n.Line), Field: field, Reason: fmt.Sprintf(format, args...)}
	}
}

// reader reads the value of one field.
type reader func(n *yaml.Node, field string)

func (p *planParser) plan(n *yaml.Node, plan *Plan) {
	p.mapping(n, "", map[string]reader{
		"waves": func(n *yaml.Node, field string) {
			p.list(n, field, func(n *yaml.Node, field string) {
				var w Wave
				p.wave(n, field, &w)
				plan.Waves = append(plan.Waves, w)
			})
		},
		"max_unavailable":  p.text(&plan.MaxUnavailable),
		"max_unreachable":  p.text(&plan.MaxUnreachable),
		"max_failures":     p.number(&plan.MaxFailures),
		"healthy":          p.text(&plan.Healthy),
		"soak":             p.text(&plan.Soak),
		"deadline":         p.text(&plan.Deadline),
		"approve_within":   p.text(&plan.ApproveWithin),
		"on_failure":       p.word((*string)(&plan.OnFailure)),
		"on_purge_failure": p.word((*string)(&plan.OnPurgeFailure)),
		"gates": func(n *yaml.Node, field string) {
			p.list(n, field, func(n *yaml.Node, field string) {
				g := baseGate()
				p.gate(n, field, &g)
				plan.Gates = append(plan.Gates, g)
			})
		},
		"freeze": func(n *yaml.Node, field string) {
			p.list(n, field, func(n *yaml.Node, field string) {
				var w Window
				p.mapping(n, field, map[string]reader{
					"days": p.words(&w.Days), "from": p.word(&w.From), "until": p.word(&w.Until), "reason": p.word(&w.Reason),
				})
				plan.Freeze = append(plan.Freeze, w)
			})
		},
	})
}

func (p *planParser) gate(n *yaml.Node, field string, g *Gate) {
	p.mapping(n, field, map[string]reader{
		"name":        p.word(&g.Name),
		"prometheus":  p.word(&g.Prometheus),
		"query":       p.word(&g.Query),
		"samples":     p.word(&g.Samples),
		"min_samples": p.float(func(f float64) { g.MinSamples = f }),
		"min":         p.float(func(f float64) { g.Min = &f }),
		"max":         p.float(func(f float64) { g.Max = &f }),
		"max_ratio":   p.float(func(f float64) { g.MaxRatio = &f }),
		"webhook":     p.word(&g.Webhook),
		"interval":    p.text(&g.Interval),
		"failures":    p.number(&g.Failures),
	})
}

func (p *planParser) wave(n *yaml.Node, field string, w *Wave) {
	p.mapping(n, field, map[string]reader{
		"regions":  p.each(func(r string) { w.Regions = append(w.Regions, wire.Region(r)) }),
		"strategy": p.word((*string)(&w.Strategy)),
		"steps": func(n *yaml.Node, field string) {
			p.list(n, field, func(n *yaml.Node, field string) {
				var s PlanStep
				p.mapping(n, field, map[string]reader{
					"activate": p.text(&s.Activate), "bake": p.text(&s.Bake), "gates": p.words(&s.Gates), "approve": p.number(&s.Approve),
				})
				w.Steps = append(w.Steps, s)
			})
		},
		"growth": func(n *yaml.Node, field string) {
			if n.Tag == "!!null" {
				return
			}
			w.Growth = new(Growth)
			p.mapping(n, field, map[string]reader{
				"linear": p.text(&w.Growth.Linear), "exponential": p.text(&w.Growth.Exponential),
				"factor": p.number(&w.Growth.Factor), "bake": p.text(&w.Growth.Bake),
			})
		},
		"max_parallel": p.number(&w.MaxParallel),
		"bake":         p.text(&w.Bake),
		"gates":        p.words(&w.Gates),
		"approve":      p.number(&w.Approve),
	})
	if w.Strategy == "" {
		w.Strategy = StrategyRolling
		if len(w.Steps) > 0 || w.Growth != nil {
			w.Strategy = StrategyCanary
		}
	}
}

func (p *planParser) mapping(n *yaml.Node, field string, fields map[string]reader) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, cmp.Or(field, "plan"), "is not a mapping")
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(field+"."+key.Value, ".")
		read, known := fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			p.fail(key, path, "is not a field; want one of %s", strings.Join(wire.Keys(fields), ", "))
		case seen[key.Value]:
			p.fail(key, path, "appears twice")
		default:
			seen[key.Value] = true
			read(value, path)
		}
		if p.err != nil {
			return
		}
	}
}

func (p *planParser) list(n *yaml.Node, field string, item reader) {
	if n.Tag == "!!null" {
		return // an empty list, as JSON writes one that was never made
	}
	if n.Kind != yaml.SequenceNode {
		p.fail(n, field, "is not a list")
		return
	}
	for i, c := range n.Content {
		if item(c, fmt.Sprintf("%s[%d]", field, i)); p.err != nil {
			return
		}
	}
}

// scalar returns the text of a value; anchors and aliases are refused with the rest.
func (p *planParser) scalar(n *yaml.Node, field string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Tag == "!!binary" {
		p.fail(n, field, "is not a value")
		return "", false
	}
	return n.Value, true
}

func (p *planParser) word(to *string) reader {
	return func(n *yaml.Node, field string) {
		if s, ok := p.scalar(n, field); ok {
			*to = s
		}
	}
}

// each reads a list of words.
func (p *planParser) each(add func(string)) reader {
	return func(n *yaml.Node, field string) {
		p.list(n, field, func(n *yaml.Node, field string) {
			if s, ok := p.scalar(n, field); ok {
				add(s)
			}
		})
	}
}

func (p *planParser) words(to *[]string) reader {
	return p.each(func(s string) { *to = append(*to, s) })
}

func (p *planParser) text(to encoding.TextUnmarshaler) reader {
	return func(n *yaml.Node, field string) {
		if s, ok := p.scalar(n, field); ok {
			if err := to.UnmarshalText([]byte(s)); err != nil {
				p.fail(n, field, "%v", err)
			}
		}
	}
}

func (p *planParser) number(to *int) reader {
	return func(n *yaml.Node, field string) {
		s, ok := p.scalar(n, field)
		if !ok {
			return
		}
		v, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			p.fail(n, field, "%q is not a number from 0", s)
		}
		*to = int(v)
	}
}

func (p *planParser) float(set func(float64)) reader {
	return func(n *yaml.Node, field string) {
		if n.Tag == "!!null" {
			return // a limit that is not given, as JSON may write it
		}
		s, ok := p.scalar(n, field)
		if !ok {
			return
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			p.fail(n, field, "%q is not a number", s)
			return
		}
		set(f)
	}
}
