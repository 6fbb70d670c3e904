package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestParse(t *testing.T) {
	red, orange := style{fg: palette[1]}, style{fg: "#ff8700"}
	for name, c := range map[string]struct {
		in   string
		want [][]run
	}{
		"plain":               {"ab\n\ncd\n", [][]run{{{0, 2, "ab", style{}}}, nil, {{0, 2, "cd", style{}}}}},
		"16, 256, true":       {"\x1b[31ma\x1b[38;5;208mb\x1b[38;2;1;2;3mc\x1b[39md", [][]run{{{0, 1, "a", red}, {1, 1, "b", orange}, {2, 1, "c", style{fg: "#010203"}}, {3, 1, "d", style{}}}}},
		"bright and back":     {"\x1b[92;44ma\x1b[49mb", [][]run{{{0, 1, "a", style{fg: palette[10], bg: palette[4]}}, {1, 1, "b", style{fg: palette[10]}}}}},
		"bold, dim, reset":    {"\x1b[1ma\x1b[2mb\x1b[22mc\x1b[1md\x1b[me", [][]run{{{0, 1, "a", style{bold: true}}, {1, 1, "b", style{bold: true, dim: true}}, {2, 1, "c", style{}}, {3, 1, "d", style{bold: true}}, {4, 1, "e", style{}}}}},
		"over a line end":     {"\x1b[31ma\nb", [][]run{{{0, 1, "a", red}}, {{0, 1, "b", red}}}},
		"wide":                {"世a", [][]run{{{0, 3, "世a", style{}}}}},
		"other sequences":     {"\x1b[2J\x1b]0;title\x07a\x1b[38;5mb", [][]run{{{0, 2, "ab", style{}}}}},
		"colour out of range": {"\x1b[38;5;256ma", [][]run{{{0, 1, "a", style{}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parse(c.in), cmp.AllowUnexported(run{}, style{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Whatever a glyph outside of ASCII measures, the next one stands in its own column.
func TestPieces(t *testing.T) {
	var got []run
	for _, line := range parse("  ✓ up and on  → 世x ") {
		for _, r := range line {
			got = append(got, r.pieces()...)
		}
	}
	want := []run{{2, 1, "✓", style{}}, {4, 9, "up and on", style{}}, {15, 1, "→", style{}}, {17, 2, "世", style{}}, {19, 1, "x", style{}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{}, style{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDraw(t *testing.T) {
	in := "\x1b[1medge\x1b[0m  \x1b[32m✓ done\x1b[39m <a href=\"x\"> & ┌─┐\n\x1b[2mdim\x1b[0m \x1b[7mswapped\x1b[0m \x1b[48;2;1;2;3m世\x1b[0m\n\f\n\x1b[38;5;208mtwo\x1b[0m \x00]\n"
	got := draw(windows(in, "one <1>|two"), 40)
	for d := xml.NewDecoder(strings.NewReader(got)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	golden := filepath.Join("testdata", "two.svg")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Hostile text is still XML.
func FuzzDraw(f *testing.F) {
	f.Add("\x1b[31m<&>\xff\x1b[")
	f.Fuzz(func(t *testing.T, text string) {
		for d := xml.NewDecoder(strings.NewReader(draw(windows(text, text), 10))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
