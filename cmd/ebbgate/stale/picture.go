package stale

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Sizes in pixels of the picture's own coordinates.
const (
	pictureWidth = 1000
	left, right  = 86, 20 // of a panel, to the edges of the picture
	top          = 64     // of the first panel: the title and the legend
	marksHeight  = 34     // of a panel, for what is written over it
	barsHeight   = 90
	linesHeight  = 76
	between      = 14 // from one panel to the next
	axisHeight   = 40
)

const (
	binTime  = 100 * time.Millisecond
	tailTime = 2500 * time.Millisecond // shown after the last barrier
	markTime = 300 * time.Millisecond  // calls that close together have one label
)

// The colours.
const (
	paper    = "#0d1117"
	ink      = "#e6edf3"
	faint    = "#8b949e"
	oldColor = "#6e7681"
	newColor = "#3fb950"
	badColor = "#ff4d4f"
	switched = "#58a6ff"
	purges   = "#f0883e"
	fences   = "#bc8cff"
)

// drawing is a picture of one run in the making.
type drawing struct {
	out      strings.Builder
	from, to int64 // Unix nanoseconds
}

// draw shows a run: for each region how many requests were answered by which generation,
// those for cold pages apart, and the first request for every slow page from its asking to
// its answer.
func draw(answers []answer, courses []course, calls []call, title string) string {
	d := &drawing{from: answers[0].asked}
	for _, co := range courses {
		at, _ := co.last()
		d.to = max(d.to, at+int64(tailTime))
	}
	panel := marksHeight + barsHeight + linesHeight + between
	height := top + len(courses)*panel + axisHeight
	fmt.Fprintf(&d.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img">
<title>%[3]s</title>
<style>text{font:12px ui-sans-serif,system-ui,"DejaVu Sans",sans-serif;fill:%[4]s}.t{font-size:16px;font-weight:600}.f{fill:%[5]s}</style>
<rect width="%[1]d" height="%[2]d" rx="10" fill="%[6]s"/>
<text class="t" x="20" y="28">%[3]s</text>
`, pictureWidth, height, title, ink, faint, paper)
	d.legend()
	for i, co := range courses {
		d.panel(top+i*panel, co, answers, calls)
	}
	d.axis(height - axisHeight)
	d.out.WriteString("</svg>\n")
	return d.out.String()
}

func (d *drawing) legend() {
	x := 20
	for _, l := range []struct{ color, text string }{
		{oldColor, "answers of the old generation"}, {newColor, "of the new one"}, {badColor, "older than the barrier"},
	} {
		fmt.Fprintf(&d.out, "<rect x=\"%d\" y=\"40\" width=\"11\" height=\"11\" fill=\"%s\"/><text x=\"%d\" y=\"50\">%s</text>\n", x, l.color, x+17, l.text)
		x += 36 + 13*len(l.text)/2
	}
	fmt.Fprintf(&d.out, "<path d=\"M%d 45h22\" stroke=\"%s\" stroke-width=\"2\"/><text x=\"%d\" y=\"50\">first request for a slow page, from asking to answer</text>\n", x, newColor, x+28)
}

// x returns where a time is.
func (d *drawing) x(at int64) float64 {
	return left + float64(at-d.from)/float64(d.to-d.from)*(pictureWidth-left-right)
}

func (d *drawing) panel(y int, co course, answers []answer, calls []call) {
	fmt.Fprintf(&d.out, "<text x=\"20\" y=\"%d\" style=\"font-weight:600\">%s</text>\n", y+14, co.region)
	fmt.Fprintf(&d.out, "<text class=\"f\" x=\"20\" y=\"%d\">answers</text><text class=\"f\" x=\"20\" y=\"%d\">in flight</text>\n",
		y+marksHeight+barsHeight/2, y+marksHeight+barsHeight+linesHeight/2)
	var mine []answer
	newest := wire.Epoch(0)
	for _, a := range answers {
		if a.region == co.region && a.good() && a.kind != cold && a.asked < d.to {
			mine = append(mine, a)
			newest = max(newest, a.epoch)
		}
	}
	d.bars(y+marksHeight, mine, co, newest)
	d.lines(y+marksHeight+barsHeight+6, mine, co, newest)
	d.marks(y, co, calls)
}

func colorOf(a answer, co course, newest wire.Epoch) string {
	if _, stale := broken(co.floors, a); stale {
		return badColor
	}
	if a.epoch < newest {
		return oldColor
	}
	return newColor
}

// bars draws the answers by the time at which they were asked for.
func (d *drawing) bars(y int, answers []answer, co course, newest wire.Epoch) {
	colors := []string{newColor, oldColor, badColor} // from the bottom
	bins := make([][3]int, int((d.to-d.from)/int64(binTime))+1)
	most := 1
	for _, a := range answers {
		bin := &bins[(a.asked-d.from)/int64(binTime)]
		bin[slices.Index(colors, colorOf(a, co, newest))]++
		most = max(most, bin[0]+bin[1]+bin[2])
	}
	for i, bin := range bins {
		x, bottom := d.x(d.from+int64(i)*int64(binTime)), float64(y+barsHeight)
		width := d.x(d.from+int64(i+1)*int64(binTime)) - x - 0.8
		for j, n := range bin {
			if n == 0 {
				continue
			}
			h := float64(n) / float64(most) * barsHeight
			if j == 2 {
				h = max(h, 3) // a single one must be seen
			}
			bottom -= h
			fmt.Fprintf(&d.out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, bottom, width, h, colors[j])
		}
	}
}

// lines draws the first request for every slow page.
func (d *drawing) lines(y int, answers []answer, co course, newest wire.Epoch) {
	first := make(map[string]answer)
	for _, a := range answers {
		if f, known := first[a.path]; a.kind == slow && (!known || a.asked < f.asked) {
			first[a.path] = a
		}
	}
	var all []answer
	for _, a := range first {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b answer) int { return cmp.Compare(a.asked, b.asked) })
	lanes := make([]int64, 1) // lane → when it is free again
	in := make([]int, len(all))
	for i, a := range all {
		in[i] = slices.IndexFunc(lanes, func(free int64) bool { return free <= a.asked })
		if in[i] < 0 {
			in[i] = len(lanes)
			lanes = append(lanes, 0)
		}
		lanes[in[i]] = a.answered
	}
	apart := min(4, float64(linesHeight-10)/float64(len(lanes)))
	for i, a := range all {
		fmt.Fprintf(&d.out, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"%s\" stroke-width=\"%.1f\"/>\n",
			d.x(a.asked), float64(y)+float64(in[i])*apart, min(d.x(a.answered), pictureWidth-right), colorOf(a, co, newest), apart*0.6)
	}
}

// marks draws what the controller did.
func (d *drawing) marks(y int, co course, calls []call) {
	mark := func(at int64, color, text string, row int) {
		x := d.x(at)
		fmt.Fprintf(&d.out, "<path d=\"M%.1f %dV%d\" stroke=\"%s\" stroke-width=\"1.3\"/>\n", x, y+marksHeight-4, y+marksHeight+barsHeight+linesHeight, color)
		if text != "" {
			fmt.Fprintf(&d.out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" style=\"fill:%s\">%s</text>\n", x, y+14+row*14, color, text)
		}
	}
	mark(co.activated, switched, "activate", 0)
	last := map[string]int64{} // method → of the latest call
	for _, c := range calls {
		if c.region != co.region {
			continue
		}
		color, text := purges, "purge"
		if c.method == methodFence {
			color, text = fences, "fence"
		}
		switch {
		case last[c.method] == 0:
		case c.done-last[c.method] < int64(markTime):
			text = ""
		case c.method == methodPurge:
			text = "purge again"
		}
		last[c.method] = c.done
		row := 1
		if c.method == methodFence {
			row = 0
		}
		mark(c.done, color, text, row)
	}
	for _, f := range co.promised {
		mark(f.at, ink, "barrier", 0)
	}
}

func (d *drawing) axis(y int) {
	for s := 0; ; s++ {
		at := d.from + int64(s)*int64(time.Second)
		if at > d.to {
			break
		}
		fmt.Fprintf(&d.out, "<text class=\"f\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d s</text>\n", d.x(at), y+12, s)
	}
	fmt.Fprintf(&d.out, "<text class=\"f\" x=\"%d\" y=\"%d\">answers stand at the time at which they were asked for; pages asked for only before and after are left out</text>\n", left, y+30)
}
