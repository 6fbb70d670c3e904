package main

import (
	"image/color"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/ebbgate/ebbgate/wire"
)

func (t tree) paint(c color.Color, s string) string {
	if !t.color || c == nil {
		return s
	}
	return lipgloss.NewStyle().Foreground(c).Render(s)
}

func (t tree) bold(s string) string {
	if !t.color {
		return s
	}
	return lipgloss.NewStyle().Bold(true).Render(s)
}

// wrap writes a reason, which must stay readable to its end, on as many lines as it takes.
// It breaks at spaces alone: names and flags that hold a hyphen are there to be copied.
func (t tree) wrap(indent string, c color.Color, s string) []string {
	room := t.width - len(indent)
	if s = plain(s); room <= 0 {
		return []string{indent + t.paint(c, s)}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && lipgloss.Width(line)+1+lipgloss.Width(word) <= room {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		parts := strings.Split(lipgloss.Wrap(word, room, ""), "\n") // what is longer than a line
		lines, line = append(lines, parts[:len(parts)-1]...), parts[len(parts)-1]
	}
	if line != "" {
		lines = append(lines, line)
	}
	for i := range lines {
		lines[i] = indent + t.paint(c, lines[i])
	}
	return lines
}

// cut keeps a line within the width, and shows where it was cut.
func (t tree) cut(s string) string {
	if t.width <= 0 || lipgloss.Width(s) <= t.width {
		return s
	}
	return lipgloss.NewStyle().MaxWidth(t.width-1).Render(s) + "…"
}

// span writes a duration with the digits that matter.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func orNone(v wire.Version) string {
	if v == "" {
		return "nothing"
	}
	return string(v)
}

// moment writes a time that matters now: the day only if it is another.
func moment(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	layout := "15:04:05Z"
	if at.Second() == 0 {
		layout = "15:04Z"
	}
	if at.Format(time.DateOnly) != now.Format(time.DateOnly) {
		layout = time.DateOnly + " " + layout
	}
	return at.Format(layout)
}
