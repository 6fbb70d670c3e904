package main

import (
	"fmt"
	"strings"
)

// Sizes in pixels of the picture's own coordinates. A cell is as wide as 0.6 of the font
// size, which is the advance of nearly every monospace font.
const (
	fontSize   = 14
	cellWidth  = 8.4
	lineHeight = 20
	padding    = 20 // between the frame and the text
	bar        = 36 // height of the title bar
	between    = 20 // from one window to the next
	ascent     = 15 // from the top of a line to its baseline
)

const (
	foreground = "#e6edf3"
	background = "#0d1117"
	barColor   = "#161b22"
	frameColor = "#30363d"
	titleColor = "#8b949e"
)

// draw stacks the windows.
func draw(windows []window, columns int) string {
	width := int(float64(columns)*cellWidth+0.5) + 2*padding + 2
	var body strings.Builder
	top := 0
	for i, w := range windows {
		if i > 0 {
			top += between
		}
		height := bar + 2*padding - 8 + len(w.lines)*lineHeight
		fmt.Fprintf(&body, "<g transform=\"translate(1 %d)\">\n", top+1)
		w.draw(&body, width-2, height)
		body.WriteString("</g>\n")
		top += height + 2
	}
	var alt []string
	for _, w := range windows {
		alt = append(alt, w.title)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img">
<title>%[3]s</title>
<style>text{font:%[4]dpx ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;white-space:pre;fill:%[5]s}.b{font-weight:700}.i{font-style:italic}.u{text-decoration:underline}</style>
%[6]s</svg>
`, width, top, clean(strings.Join(alt, "; ")), fontSize, foreground, body.String())
}

func (w window) draw(out *strings.Builder, width, height int) {
	fmt.Fprintf(out, "<rect width=\"%d\" height=\"%d\" rx=\"10\" fill=\"%s\" stroke=\"%s\"/>\n", width, height, background, frameColor)
	fmt.Fprintf(out, "<path d=\"M0 %[1]dV10A10 10 0 0 1 10 0H%[2]dA10 10 0 0 1 %[3]d 10V%[1]dZ\" fill=\"%[4]s\" stroke=\"%[5]s\"/>\n",
		bar, width-10, width, barColor, frameColor)
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(out, "<circle cx=\"%d\" cy=\"%d\" r=\"6\" fill=\"%s\"/>\n", 22+20*i, bar/2, c)
	}
	fmt.Fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" style=\"fill:%s\">%s</text>\n", width/2, bar/2+5, titleColor, clean(w.title))
	for i, line := range w.lines {
		y := bar + padding - 4 + i*lineHeight
		for _, r := range line {
			r.draw(out, y)
		}
	}
}

func (r run) draw(out *strings.Builder, y int) {
	fg, bg := r.style.fg, r.style.bg
	if r.style.swaps {
		fg, bg = bg, fg
		if fg == "" {
			fg = background
		}
		if bg == "" {
			bg = foreground
		}
	}
	if bg != "" {
		fmt.Fprintf(out, "<rect x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\" fill=\"%s\"/>\n", px(r.column), y, wide(r.cells), lineHeight, bg)
	}
	var attrs string
	var class []string
	for _, c := range []struct {
		name string
		on   bool
	}{{"b", r.style.bold}, {"i", r.style.italic}, {"u", r.style.under}} {
		if c.on {
			class = append(class, c.name)
		}
	}
	if len(class) > 0 {
		attrs += fmt.Sprintf(" class=\"%s\"", strings.Join(class, " "))
	}
	if fg != "" {
		attrs += fmt.Sprintf(" style=\"fill:%s\"", fg)
	}
	if r.style.dim {
		attrs += " opacity=\"0.6\""
	}
	for _, p := range r.pieces() {
		fit := ""
		if p.cells > 1 {
			fit = fmt.Sprintf(" textLength=\"%s\" lengthAdjust=\"spacingAndGlyphs\"", wide(p.cells))
		}
		fmt.Fprintf(out, "<text x=\"%s\" y=\"%d\"%s%s>%s</text>\n", px(p.column), y+ascent, fit, attrs, clean(p.text))
	}
}

func px(column int) string  { return pixels(padding + float64(column)*cellWidth) }
func wide(cells int) string { return pixels(float64(cells) * cellWidth) }

func pixels(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }
