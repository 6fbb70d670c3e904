package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Epoch numbers the activation orders of one app in one region. Every activation
// order takes a new, higher epoch, a rollback too. Zero means "never activated".
type Epoch uint64

// String returns the decimal number.
func (e Epoch) String() string { return strconv.FormatUint(uint64(e), 10) }

// Generation is what a data plane shows of the epoch it serves, in the response
// header X-Ebbgate-Gen and in generation cache tags: "<region>-<epoch>".
type Generation struct {
	Region Region
	Epoch  Epoch
}

// String returns "<region>-<epoch>", for example "eu-west-17".
func (g Generation) String() string { return string(g.Region) + "-" + g.Epoch.String() }

// ParseGeneration reads what [Generation.String] wrote.
func ParseGeneration(s string) (Generation, error) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return Generation{}, fmt.Errorf("generation %q is not <region>-<epoch>", s)
	}
	if err := CheckToken(s[:i]); err != nil {
		return Generation{}, fmt.Errorf("generation %q: region %w", s, err)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s[i+1:] {
		return Generation{}, fmt.Errorf("generation %q: %q is not an epoch", s, s[i+1:])
	}
	return Generation{Region(s[:i]), Epoch(n)}, nil
}
