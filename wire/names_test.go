package wire

import (
	"strings"
	"testing"
	"time"
)

func TestCheckToken(t *testing.T) {
	for s, ok := range map[string]bool{
		"a": true, "eu-west-1": true, "0": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "-a": false, "a-": false, "A": false, "a.b": false, "a b": false, "*": false, ">": false, "ä": false, "a_b": false, "a/b": false, "a\n": false,
	} {
		if err := CheckToken(s); (err == nil) != ok {
			t.Errorf("%q: %v, want good %t", s, err, ok)
		}
	}
}

func TestVersion(t *testing.T) {
	for v, ok := range map[Version]bool{
		"0": true, "17": true, "1.4.0": true, "2026.11.23.2": true, "2147483647": true,
		"": false, "2147483648": false, "1.2.3.4.5": false, "v1": false, "1.": false, ".1": false, "1..2": false, "01": false, "1.04": false, "-1": false, "+1": false, "1.4-rc1": false, "1 ": false, "١": false,
	} {
		if err := v.Check(); (err == nil) != ok {
			t.Errorf("%q: %v, want good %t", v, err, ok)
		}
	}
	ascending := []Version{"", "0", "0.9", "1", "1.0.0.1", "1.2", "1.10", "1.10.1", "2", "2026.1"}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Compare(b), compareInt(i, j); got != want {
				t.Errorf("%q against %q: %d, want %d", a, b, got, want)
			}
		}
	}
	if Version("1.4").Compare("1.4.0.0") != 0 {
		t.Error("1.4 is not 1.4.0.0")
	}
}

func compareInt(i, j int) int {
	switch {
	case i < j:
		return -1
	case i > j:
		return 1
	}
	return 0
}

func TestGeneration(t *testing.T) {
	for _, g := range []Generation{{"waf", "eu-west", 17}, {"edge-proxy", "eu-west-1", 7}, {"a", "a", 0}, {"b-2", "a-1", 18446744073709551615}} {
		if got, err := ParseGeneration(g.String()); err != nil || got != g {
			t.Errorf("%s read back as %v, %v", g, got, err)
		}
	}
	for _, s := range []string{"", "-", "17", "eu-17", "a.eu-", "a.eu-x", ".eu-17", "a.-17", "a.eu--17", "a.eu-017", "a.eu-+1", "a.EU-1", "A.eu-1", "a.b.c-1", "a.eu-1 ", "a.eu-18446744073709551616"} {
		if g, err := ParseGeneration(s); err == nil {
			t.Errorf("%q read as %v", s, g)
		}
	}
}

func TestDigestText(t *testing.T) {
	d := DigestOf([]byte("x"))
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("read back as %v, %v", got, err)
	}
	if got, err := ParseDigest(""); err != nil || !got.IsZero() || got.String() != "" || got.Short() != "none" {
		t.Errorf("nothing read back as %v, %v", got, err)
	}
	for _, s := range []string{strings.ToUpper(d.String()), d.String()[:63], d.String() + "0", strings.Repeat("g", 64), " " + d.String()[1:]} {
		if _, err := ParseDigest(s); err == nil {
			t.Errorf("accepted %q", s)
		}
	}
}

func TestDurationText(t *testing.T) {
	for _, s := range []string{"0s", "30s", "1m30s", "1h0m0.5s"} {
		var d Duration
		if err := d.UnmarshalText([]byte(s)); err != nil || d.String() != s {
			t.Errorf("%s read back as %s, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "30", "-1s", "1d", "s", "9999999h"} {
		if err := new(Duration).UnmarshalText([]byte(s)); err == nil {
			t.Errorf("accepted %q", s)
		}
	}
	if Duration(time.Second).Std() != time.Second {
		t.Error("Std")
	}
}

func TestScoreText(t *testing.T) {
	var s Score
	if err := s.UnmarshalText([]byte("00000000000000ff")); err != nil || s != 255 {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "ff", "00000000000000FF", "0x000000000000ff", "+0000000000000ff", "00000000000000fff"} {
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestStatusSubject(t *testing.T) {
	r, a, err := ParseStatusSubject(StatusSubject("eu-west", "node-a"))
	if err != nil || r != "eu-west" || a != "node-a" {
		t.Errorf("%s %s %v", r, a, err)
	}
	for _, s := range []string{"", "eg.status.a", "eg.status.a.b.c", "eg.want.a.b", "x.status.a.b", "eg.status..b", "eg.status.*.b", "eg.status.a.>"} {
		if _, _, err := ParseStatusSubject(s); err == nil {
			t.Errorf("accepted %q", s)
		}
	}
}
