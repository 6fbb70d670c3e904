package cdn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// A Rule says what to purge when a file changes.
type Rule struct {
	// Files is a glob over slash-separated paths: * and ? stay within one
	// segment, ** spans any number of them, {a,b} and [a-z] work as in a shell.
	Files string
	// Selectors are text forms with {region}, {version}, {epoch} and {app}
	// filled in, for example "key:rules@{region}-{epoch}".
	Selectors []string
}

// Vars fills the templates of rules. The keys are the names without braces.
type Vars map[string]string // name → value

// variables are the names a template may use.
var variables = []string{"app", "epoch", "region", "version"}

// Validate checks a rule without any changed files, with stand-in values.
func (r Rule) Validate() error {
	_, err := Select([]Rule{r}, nil, Vars{"app": "app", "epoch": "1", "region": "region", "version": "1"})
	return err
}

// Select returns the selectors for a set of changed files, distinct and in
// order, of the rules that match one of them, and of every rule those that name an epoch
// or a version. All rules are checked, whether a file matches or not. Unlike
// Coalesce it keeps everything beside `all`, because a plan shows the reasons.
func Select(rules []Rule, files []string, vars Vars) ([]Selector, error) {
	var out []Selector
	for i, rule := range rules {
		if !doublestar.ValidatePattern(rule.Files) || rule.Files == "" {
			return nil, fmt.Errorf("rules[%d].files %q is not a valid glob", i, rule.Files)
		}
		if len(rule.Selectors) == 0 {
			return nil, fmt.Errorf("rules[%d].selectors is empty", i)
		}
		matched := slices.ContainsFunc(files, func(file string) bool {
			return doublestar.MatchUnvalidated(rule.Files, file)
		})
		for j, template := range rule.Selectors {
			text, err := expand(template, vars)
			if err != nil {
				return nil, fmt.Errorf("rules[%d].selectors[%d] %q: %w", i, j, template, err)
			}
			s, err := ParseSelector(text)
			if err != nil {
				return nil, fmt.Errorf("rules[%d].selectors[%d] %q: %w", i, j, template, err)
			}
			if matched || aged(template) {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, Selector.Compare)
	return slices.Compact(out), nil
}

// aged reports whether what a selector names depends on when an object was fetched. Such a
// selector counts whatever has changed: the tag of an object that one activation leaves
// alone is that of an older one, and no later purge would name it.
func aged(template string) bool {
	return strings.Contains(template, "{epoch}") || strings.Contains(template, "{version}")
}

// expand makes one pass, so that a value which contains braces is not
// expanded again.
func expand(template string, vars Vars) (string, error) {
	var b strings.Builder
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return "", fmt.Errorf("unclosed { before %.40q", after)
		}
		if !slices.Contains(variables, name) {
			return "", fmt.Errorf("unknown variable {%s}, known are {%s}", name, strings.Join(variables, "} {"))
		}
		value, ok := vars[name]
		if !ok || value == "" {
			return "", fmt.Errorf("variable {%s} has no value here", name)
		}
		b.WriteString(value)
		rest = tail
	}
}
