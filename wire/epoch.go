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

// Generation is what a data plane shows of the epoch it serves, in the response header
// X-Ebbgate-Gen and in generation cache tags: "<app>.<region>-<epoch>". The app is part of it
// because apps number their epochs separately: a fence against old answers of one must not
// shut out another.
type Generation struct {
	App    App
	Region Region
	Epoch  Epoch
}

// Name returns "<app>.<region>", what a fence is raised for.
func (g Generation) Name() string { return string(g.App) + "." + string(g.Region) }

// String returns "<app>.<region>-<epoch>", for example "edge-proxy.eu-west-17".
func (g Generation) String() string { return g.Name() + "-" + g.Epoch.String() }

// ParseGeneration reads what [Generation.String] wrote.
func ParseGeneration(s string) (Generation, error) {
	app, rest, dot := strings.Cut(s, ".")
	i := strings.LastIndexByte(rest, '-')
	if !dot || i < 0 {
		return Generation{}, fmt.Errorf("generation %q is not <app>.<region>-<epoch>", s)
	}
	if err := CheckToken(app); err != nil {
		return Generation{}, fmt.Errorf("generation %q: app %w", s, err)
	}
	if err := CheckToken(rest[:i]); err != nil {
		return Generation{}, fmt.Errorf("generation %q: region %w", s, err)
	}
	n, err := strconv.ParseUint(rest[i+1:], 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != rest[i+1:] {
		return Generation{}, fmt.Errorf("generation %q: %q is not an epoch", s, rest[i+1:])
	}
	return Generation{App(app), Region(rest[:i]), Epoch(n)}, nil
}
