// Command termsvg draws terminal text as an SVG that stands alone: no script, no font and
// no image from elsewhere, since that is all a README page lets through.
//
// A reader's monospace font is not ours to choose, and its glyphs for arrows or circles
// often come from another font of another width. So each run of text is pinned to its
// columns with textLength, and a run is cut at every glyph outside of ASCII: what follows
// is in its column whatever that glyph measures.
//
// It reads from stdin, and from a line of "\f" alone on, the text of the next window.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	columns := flag.Int("columns", 100, "width in cells")
	titles := flag.String("titles", "", "titles of the windows, separated by |")
	flag.Parse()
	if *columns < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "termsvg: cannot read the terminal text: "+err.Error())
		os.Exit(1)
	}
	if _, err := os.Stdout.WriteString(draw(windows(string(text), *titles), *columns)); err != nil {
		fmt.Fprintln(os.Stderr, "termsvg: cannot write the picture: "+err.Error())
		os.Exit(1)
	}
}

// window is one terminal and its title.
type window struct {
	title string
	lines [][]run
}

func windows(text, titles string) []window {
	title := strings.Split(titles, "|")
	var all []window
	for i, part := range strings.Split(text, "\f\n") {
		w := window{lines: parse(part)}
		if i < len(title) {
			w.title = title[i]
		}
		all = append(all, w)
	}
	return all
}
