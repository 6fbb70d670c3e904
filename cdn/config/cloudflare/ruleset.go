package cloudflare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/rulesets"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// RulesetFile holds what a release wants of a ruleset: {"description": "…", "rules": […]},
// rules as in the API.
const RulesetFile = "ruleset.json"

// Keys of its items.
const (
	descriptionKey = "description"
	rulesKey       = "rules"
)

// Ruleset is the entry point of a phase of a zone: its rules, in order, and its
// description. It is replaced as a whole.
type Ruleset struct {
	client
	zone    string
	phase   rulesets.Phase
	service *rulesets.PhaseService
}

// NewRuleset checks zone and phase; it does not talk to Cloudflare.
func NewRuleset(a Account, zone, phase string) (*Ruleset, error) {
	if err := checkHex("zone", zone); err != nil {
		return nil, err
	}
	if !rulesets.Phase(phase).IsKnown() {
		return nil, fmt.Errorf("cloudflare target: phase: %q is unknown", phase)
	}
	c, err := newClient(a, zone, fmt.Sprintf("ruleset %s of zone %s", phase, zone))
	return &Ruleset{client: c, zone: zone, phase: rulesets.Phase(phase), service: rulesets.NewPhaseService(c.opts...)}, err
}

// Limits: the documentation names no time; rules are everywhere within seconds.
func (r *Ruleset) Limits() config.Limits {
	return config.Limits{Settle: 10 * time.Second}
}

// document is a ruleset as it is written.
type document struct {
	Description string           `json:"description"`
	Rules       []map[string]any `json:"rules"`
}

func (d document) items() map[string]string {
	if d.Rules == nil {
		d.Rules = []map[string]any{}
	}
	rules, err := json.Marshal(d.Rules)
	if err != nil {
		panic(err) // it was JSON before
	}
	return map[string]string{descriptionKey: d.Description, rulesKey: string(rules)}
}

// assigned are the fields of a rule that Cloudflare sets.
var assigned = []string{"id", "version", "last_updated"}

func (r *Ruleset) Load(files fs.FS) (config.Content, error) {
	var c config.Content
	data, err := fs.ReadFile(files, RulesetFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%s is missing from the release", RulesetFile)
	}
	if err != nil {
		return c, err
	}
	var d document
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return c, fmt.Errorf("%s: %w", RulesetFile, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return c, fmt.Errorf("%s: holds more than one JSON value", RulesetFile)
	}
	if d.Rules == nil {
		return c, fmt.Errorf("%s: rules is missing; an empty list removes all", RulesetFile)
	}
	if strings.Contains(d.Description, config.Mark) {
		return c, fmt.Errorf("%s: description: %q is kept for the release", RulesetFile, config.Mark)
	}
	for i, rule := range d.Rules {
		for _, field := range assigned {
			if _, there := rule[field]; there {
				return c, fmt.Errorf("%s: rules[%d].%s: is set by Cloudflare", RulesetFile, i, field)
			}
		}
		for _, field := range []string{"action", "expression"} {
			if text, ok := rule[field].(string); !ok || text == "" {
				return c, fmt.Errorf("%s: rules[%d].%s: is missing", RulesetFile, i, field)
			}
		}
	}
	c.Items = d.items()
	return c, nil
}

var markPattern = regexp.MustCompile(`(?s)^(?:(.*) )?\[` + config.Mark + ` ([^\]]*)\]$`)

// marked is a description with the mark of a release at its end, unmarked takes it off.
func marked(description, release string) string {
	if description != "" {
		description += " "
	}
	return fmt.Sprintf("%s[%s %s]", description, config.Mark, release)
}

func unmarked(text string) (description, release string) {
	if m := markPattern.FindStringSubmatch(text); m != nil {
		return m[1], m[2]
	}
	return text, ""
}

// Read gets the ruleset; one that was never made is empty.
func (r *Ruleset) Read(ctx context.Context, _ []string) (config.State, error) {
	var p rulesets.PhaseGetParams
	p.ZoneID.Value, p.ZoneID.Present = r.zone, true
	var got struct {
		document
		Version string `json:"version"`
	}
	err := r.call(ctx, "read", &got, func(ctx context.Context) error {
		_, err := r.service.Get(ctx, r.phase, p)
		return err
	})
	if errors.Is(err, noEntryPoint) { // anything else is not known to be empty
		return config.State{Items: document{}.items()}, nil
	}
	if err != nil {
		return config.State{}, err
	}
	s := config.State{Version: got.Version}
	got.Description, s.Release = unmarked(got.Description)
	for _, rule := range got.Rules {
		if rule["ref"] == rule["id"] {
			delete(rule, "ref") // nobody chose it
		}
		for _, field := range assigned {
			delete(rule, field)
		}
	}
	s.Items = got.document.items()
	return s, nil
}

// Same takes rules as equal if they have what was asked for: Cloudflare adds defaults.
func (r *Ruleset) Same(key, have, want string) bool {
	if key != rulesKey {
		return have == want
	}
	var got, asked []any
	if json.Unmarshal([]byte(have), &got) != nil || json.Unmarshal([]byte(want), &asked) != nil {
		return false
	}
	for _, rule := range asked {
		if m, ok := rule.(map[string]any); ok && m["enabled"] == nil {
			m["enabled"] = true
		}
	}
	for _, rule := range got {
		if m, ok := rule.(map[string]any); ok && m["enabled"] == nil {
			m["enabled"] = true
		}
	}
	return holds(got, asked)
}

// holds reports whether have is want, or more in its objects.
func holds(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range w {
			if !holds(h[key], value) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !holds(h[i], w[i]) {
				return false
			}
		}
		return true
	}
	return have == want
}

// Stage lets Cloudflare validate the rules without keeping them.
func (r *Ruleset) Stage(ctx context.Context, want config.State, _ config.Content) (config.State, error) {
	return want, r.put(ctx, "stage", want)
}

func (r *Ruleset) Write(ctx context.Context, b config.Batch) error {
	return r.put(ctx, "change", b.Want)
}

func (r *Ruleset) put(ctx context.Context, op string, want config.State) error {
	d := struct {
		Description string          `json:"description"`
		Rules       json.RawMessage `json:"rules"`
	}{want.Items[descriptionKey], json.RawMessage(want.Items[rulesKey])}
	if want.Release != "" {
		d.Description = marked(d.Description, want.Release)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", op, r.name, err)
	}
	var p rulesets.PhaseUpdateParams
	p.ZoneID.Value, p.ZoneID.Present = r.zone, true
	if op == "stage" {
		p.DryRun.Value, p.DryRun.Present = true, true
	}
	return r.call(ctx, op, nil, func(ctx context.Context) error {
		_, err := r.service.Update(ctx, r.phase, p, option.WithRequestBody("application/json", data))
		return err
	})
}
