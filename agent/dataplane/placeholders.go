package dataplane

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

var placeholder = regexp.MustCompile(`@[a-z][a-z0-9_-]*@`)

// placeholders returns what the placeholders stand for that every template may use. No
// value needs quoting in any server's configuration but @identity@, which is JSON.
func (r Release) placeholders() (map[string]string, error) {
	if err := checkDir(r.Dir); err != nil {
		return nil, fmt.Errorf("release directory: %w", err)
	}
	i := r.Identity()
	return map[string]string{
		"@release@":    r.Dir,
		"@app@":        string(r.App),
		"@region@":     string(r.Region),
		"@epoch@":      r.Epoch.String(),
		"@version@":    string(r.Version),
		"@release-id@": i.Release,
		"@generation@": i.Generation,
		"@tags@":       strings.Join(i.Tags(), " "),
		"@cache-tags@": strings.Join(i.Tags(), ","),
		"@identity@":   string(i.JSON()),
	}, nil
}

// fill replaces the placeholders in text in one pass, so that no value is read as a
// placeholder.
func fill(text string, values map[string]string) (string, error) {
	var unknown string
	filled := placeholder.ReplaceAllStringFunc(text, func(name string) string {
		value, known := values[name]
		if !known && unknown == "" {
			unknown = name
		}
		return value
	})
	if unknown != "" {
		return "", fmt.Errorf("placeholder %s is unknown, want one of %s", unknown, strings.Join(wire.Keys(values), " "))
	}
	return filled, nil
}
