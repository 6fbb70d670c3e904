package rollout

import (
	"fmt"
	"strconv"
	"strings"
)

// Amount is a number of agents, or a share of a region's serving agents: "3" or "25%".
type Amount struct {
	N       int  // agents, or per cent
	Percent bool // N is a share, 0 to 100
}

// Count is an absolute amount.
func Count(n int) Amount { return Amount{N: n} }

// Share is an amount in per cent.
func Share(percent int) Amount { return Amount{percent, true} }

// Floor returns how many of n agents the amount is, rounded down.
func (a Amount) Floor(n int) int {
	if a.Percent {
		return n * a.N / 100
	}
	return min(a.N, n)
}

// Ceil returns how many of n agents the amount is, rounded up.
func (a Amount) Ceil(n int) int {
	if a.Percent {
		return (n*a.N + 99) / 100
	}
	return min(a.N, n)
}

// All reports whether the amount is every agent of any region.
func (a Amount) All() bool { return a.Percent && a.N == 100 }

// String returns "3" or "25%".
func (a Amount) String() string {
	if a.Percent {
		return strconv.Itoa(a.N) + "%"
	}
	return strconv.Itoa(a.N)
}

// MarshalText implements [encoding.TextMarshaler].
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Amount) UnmarshalText(text []byte) error {
	s, percent := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return fmt.Errorf("%q is not an amount like 3 or 25%%", text)
	}
	if percent && n > 100 {
		return fmt.Errorf("%q is more than 100%%", text)
	}
	*a = Amount{int(n), percent}
	return nil
}

// Plural writes a number of things for people: "1 agent", "2 agents".
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
