package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// style is how a cell looks. A colour is "" for the default, else #rrggbb.
type style struct {
	fg, bg                          string
	bold, dim, italic, under, swaps bool
}

// run is text of one style that begins at a column; cells counts wide glyphs twice.
type run struct {
	column, cells int
	text          string
	style         style
}

// parse reads terminal text: lines of UTF-8 with SGR sequences, whose effect lasts over
// line ends. Every other control sequence is dropped.
func parse(text string) [][]run {
	var lines [][]run
	var st style
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, parseLine(line, &st))
	}
	return lines
}

func parseLine(line string, st *style) []run {
	var runs []run
	column, state := 0, byte(0)
	parser := ansi.NewParser()
	for len(line) > 0 {
		seq, width, n, next := ansi.DecodeSequence(line, state, parser)
		state, line = next, line[n:]
		switch {
		case width > 0:
			if last := len(runs) - 1; last >= 0 && runs[last].style == *st {
				runs[last].text += seq
				runs[last].cells += width
			} else {
				runs = append(runs, run{column, width, seq, *st})
			}
			column += width
		case ansi.HasCsiPrefix(seq) && strings.HasSuffix(seq, "m"):
			st.apply(strings.TrimSuffix(seq[strings.IndexByte(seq, '[')+1:], "m"))
		}
	}
	return runs
}

// apply changes the style by the parameters of an SGR sequence (ECMA-48, 8.3.117).
// Unknown ones are ignored, as terminals do.
func (s *style) apply(params string) {
	codes := strings.FieldsFunc(params, func(r rune) bool { return r == ';' || r == ':' })
	if len(codes) == 0 {
		codes = []string{"0"}
	}
	for i := 0; i < len(codes); i++ {
		n, err := strconv.Atoi(codes[i])
		if err != nil {
			continue
		}
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 3:
			s.italic = true
		case n == 4:
			s.under = true
		case n == 7:
			s.swaps = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 23:
			s.italic = false
		case n == 24:
			s.under = false
		case n == 27:
			s.swaps = false
		case n >= 30 && n <= 37:
			s.fg = indexed(n - 30)
		case n >= 90 && n <= 97:
			s.fg = indexed(n - 90 + 8)
		case n >= 40 && n <= 47:
			s.bg = indexed(n - 40)
		case n >= 100 && n <= 107:
			s.bg = indexed(n - 100 + 8)
		case n == 39:
			s.fg = ""
		case n == 49:
			s.bg = ""
		case n == 38 || n == 48:
			color, used := extended(codes[i+1:])
			i += used
			if color == "" {
				continue
			}
			if n == 38 {
				s.fg = color
			} else {
				s.bg = color
			}
		}
	}
}

// extended reads what follows 38 or 48: 5;index or 2;red;green;blue. It returns how many
// parameters were read, and "" for a colour that makes no sense.
func extended(codes []string) (color string, used int) {
	var v [4]int
	for i := range min(len(codes), len(v)) {
		n, err := strconv.Atoi(codes[i])
		if err != nil || n < 0 || n > 255 {
			return "", len(codes)
		}
		v[i] = n
	}
	switch {
	case len(codes) >= 2 && v[0] == 5:
		return indexed(v[1]), 2
	case len(codes) >= 4 && v[0] == 2:
		return fmt.Sprintf("#%02x%02x%02x", v[1], v[2], v[3]), 4
	}
	return "", len(codes)
}

// palette is the 16 named colours, chosen for contrast on the background.
var palette = [16]string{
	"#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#c9d1d9",
	"#8b949e", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#e2c5ff", "#76e3ea", "#f0f6fc",
}

// indexed returns a colour of the 256: the palette, a 6×6×6 cube, 24 greys.
func indexed(n int) string {
	level := func(v int) int {
		if v == 0 {
			return 0
		}
		return 55 + 40*v
	}
	switch {
	case n < 16:
		return palette[n]
	case n < 232:
		n -= 16
		return fmt.Sprintf("#%02x%02x%02x", level(n/36), level(n/6%6), level(n%6))
	}
	grey := 8 + 10*(n-232)
	return fmt.Sprintf("#%02x%02x%02x", grey, grey, grey)
}
