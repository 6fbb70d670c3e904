// Package oneline makes text from outside fit for a log line, a record or a terminal.
package oneline

import (
	"strings"
	"unicode"
)

// limit of a text, in bytes.
const limit = 300

// Clip returns text as one line of at most 300 bytes and an ellipsis. What cannot be printed
// becomes a space: controls, those of C1 too, and what turns the direction of a line.
func Clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return strings.TrimSpace(text)
}
