package wire

import (
	"errors"
	"testing"
)

func TestYAMLReason(t *testing.T) {
	for _, tt := range []struct{ err, want string }{
		{"yaml: line 3: did not find expected key", "line 3: did not find expected key"},
		{"yaml: unmarshal errors:\n  line 2: field regio not found in type agent.Config", "line 2: field regio not found"},
		{
			"yaml: unmarshal errors:\n  line 2: cannot unmarshal !!str `x into y` into []string\n  line 4: field a not found in type main.config",
			"line 2: cannot unmarshal !!str `x into y`; line 4: field a not found",
		},
		{"yaml: unmarshal errors:\n  line 6: cannot unmarshal !!str `many` into int", "line 6: cannot unmarshal !!str `many` into int"},
		{`line 2: "5x" is not a duration`, `line 2: "5x" is not a duration`},
	} {
		if got := YAMLReason(errors.New(tt.err)); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.err, got, tt.want)
		}
	}
}
