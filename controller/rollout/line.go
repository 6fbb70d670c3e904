package rollout

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var indexed = regexp.MustCompile(`^([^\[]*)\[(\d+)\]$`)

// FieldLine returns the line of a plan file on which a field stands that [Plan.Validate]
// complains about, "waves[0].steps[1].activate", or that of the nearest field around it; 0:
// there is none.
func FieldLine(data []byte, field string) int {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return 0
	}
	n, line := doc.Content[0], 0
	for _, name := range strings.Split(field, ".") {
		index := -1
		if m := indexed.FindStringSubmatch(name); m != nil {
			name = m[1]
			index, _ = strconv.Atoi(m[2])
		}
		next := (*yaml.Node)(nil)
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				line, next = n.Content[i].Line, n.Content[i+1]
			}
		}
		if next != nil && index >= 0 {
			if next.Kind != yaml.SequenceNode || index >= len(next.Content) {
				return line
			}
			next = next.Content[index]
			line = next.Line
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}
