package main

import (
	"html"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// pieces cuts a run so that no glyph of an uncertain width can shift another: into words
// of ASCII with single spaces, and single glyphs. Blanks at the ends draw nothing.
func (r run) pieces() []run {
	var all []run
	column := r.column
	for text := r.text; text != ""; {
		glyph, cells := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
		text = text[len(glyph):]
		ascii := len(glyph) == 1
		last := len(all) - 1
		switch {
		case ascii && last >= 0 && all[last].text[len(all[last].text)-1] < utf8.RuneSelf && all[last].column+all[last].cells == column:
			all[last].text += glyph
			all[last].cells += cells
		case glyph != " ":
			all = append(all, run{column, cells, glyph, r.style})
		}
		column += cells
	}
	for i := range all {
		trimmed := strings.TrimRight(all[i].text, " ")
		all[i].cells -= len(all[i].text) - len(trimmed)
		all[i].text = trimmed
	}
	return all
}

// clean escapes text for XML, without the characters that XML cannot hold.
func clean(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < 0x20 || r == utf8.RuneError || r&0xfffe == 0xfffe {
			return -1
		}
		return r
	}, s))
}
