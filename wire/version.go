package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is the version of a bundle: one to four decimal numbers joined by dots,
// without leading zeros, each below 2^31: "17", "1.4.0", "2026.11.23.2". Versions
// of an app are ordered, and published in ascending order only.
type Version string

// maxVersionPart keeps every part within an int32 on every platform.
const maxVersionPart = 1<<31 - 1

// Check reports why v is not a version.
func (v Version) Check() error {
	if v == "" {
		return fmt.Errorf("is empty")
	}
	parts := strings.Split(string(v), ".")
	if len(parts) > 4 {
		return fmt.Errorf("%q has %d parts, at most 4 are allowed", v, len(parts))
	}
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || n > maxVersionPart || strconv.FormatUint(n, 10) != p {
			return fmt.Errorf("%q is not a version: want numbers joined by dots, like 1.4.0", v)
		}
	}
	return nil
}

// Compare orders two valid versions number by number; a missing part counts as 0,
// so 1.4 and 1.4.0 are equal. The empty version is below all others.
func (v Version) Compare(w Version) int {
	a, b := v.parts(), w.parts()
	for i := range a {
		if c := cmp.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func (v Version) parts() (p [4]int64) {
	if v == "" {
		return [4]int64{-1, -1, -1, -1}
	}
	for i, s := range strings.SplitN(string(v), ".", 4) {
		p[i], _ = strconv.ParseInt(s, 10, 64)
	}
	return p
}
