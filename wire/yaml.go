package wire

import (
	"regexp"
	"strings"
)

// goTypes are the names of Go types that end the lines of a YAML decoder, but for those
// that anybody can read, like int.
var goTypes = regexp.MustCompile(`(?m)( in type \S+| into \S*[.\[]\S*)$`)

// YAMLReason returns what a YAML decoder complains about in one line, with line numbers and
// without the names of Go types, which say nothing to whoever wrote the file. It reads the
// text alone, so that this package needs no YAML.
func YAMLReason(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n")
	lines := strings.Split(goTypes.ReplaceAllString(text, ""), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
