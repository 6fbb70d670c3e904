package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Shape bounds a history, so that one that fails can be made smaller.
type Shape struct {
	Only     []string // the faults that may be switched on; nil: all
	Commands int      // of the operator after the first rollout, at most
	Agents   int      // at most
	Regions  int      // at most
}

// Whole bounds nothing.
func Whole() Shape {
	return Shape{Commands: math.MaxInt, Agents: math.MaxInt, Regions: math.MaxInt}
}

// String returns the flags that give a test this shape.
func (s Shape) String() string {
	var flags []string
	if s.Only != nil {
		flags = append(flags, "-only "+cmp.Or(strings.Join(s.Only, ","), "none"))
	}
	for _, most := range []struct {
		flag string
		n    int
	}{{"commands", s.Commands}, {"agents", s.Agents}, {"regions", s.Regions}} {
		if most.n != math.MaxInt {
			flags = append(flags, fmt.Sprintf("-%s %d", most.flag, most.n))
		}
	}
	return strings.Join(flags, " ")
}

func (s Shape) allows(f fault) bool { return s.Only == nil || slices.Contains(s.Only, f.flag()) }

// maxTries bounds the search for a smaller history.
const maxTries = 400

// Shrink returns the smallest history of a seed that was found to fail as well: with each
// fault switched off, then with fewer commands, then with a smaller fleet, until nothing
// more can go.
func Shrink(bad Result) Result {
	tries := 0
	fails := func(s Shape) bool {
		if tries++; tries > maxTries {
			return false
		}
		r := Run(bad.Seed, s)
		if r.Err == nil {
			return false
		}
		bad = r
		return true
	}
	for before := ""; before != bad.Shape.String()+"." && tries <= maxTries; {
		before = bad.Shape.String() + "."
		for _, f := range bad.Faults {
			s := bad.Shape
			s.Only = slices.DeleteFunc(slices.Clone(bad.Faults), func(o string) bool { return o == f })
			if len(s.Only) < len(bad.Faults) {
				fails(s)
			}
		}
		for n := range bad.Commands {
			s := bad.Shape
			if s.Commands = n; fails(s) {
				break
			}
		}
		for n := 1; n < bad.Regions; n++ {
			s := bad.Shape
			if s.Regions = n; fails(s) {
				break
			}
		}
		for n := bad.Regions; n < bad.Agents; n++ {
			s := bad.Shape
			if s.Agents = n; fails(s) {
				break
			}
		}
	}
	return bad
}
