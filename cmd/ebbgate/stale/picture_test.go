package stale

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The picture is well-formed, has a panel for each region, and shows a single stale answer.
func TestDraw(t *testing.T) {
	const second = int64(1e9)
	courses := []course{
		{region: "eu-north", activated: 2 * second, promised: []floor{{2, 4 * second}}, floors: []floor{{2, 4 * second}}},
		{region: "us-west", activated: 2 * second, promised: []floor{{5, 4 * second}}, floors: []floor{{5, 4 * second}}},
	}
	calls := []call{
		{"eu-north", shield, methodFence, 25e8}, {"eu-north", shield, methodPurge, 26e8}, {"eu-north", edge, methodPurge, 27e8}, {"eu-north", shield, methodPurge, 38e8},
	}
	var answers []answer
	for i := range 50 {
		at := second + int64(i)*second/10
		a := answer{region: "eu-north", tier: edge, kind: hot, status: 200, asked: at, answered: at + 1, epoch: 1}
		if at > 26e8 {
			a.epoch = 2
		}
		answers = append(answers, a, answer{region: "us-west", tier: edge, kind: slow, path: "/x", status: 200, asked: at, answered: at + second, epoch: 5})
	}
	fine := draw(answers, courses, calls, "a run")
	stale := answer{region: "eu-north", tier: edge, kind: hot, status: 200, asked: 5 * second, answered: 5*second + 1, epoch: 1}
	bad := draw(append(answers, stale), courses, calls, "a run")
	if f, b := strings.Count(fine, badColor), strings.Count(bad, badColor); f != 1 || b != 2 { // one is the legend's
		t.Errorf("red is used %d times without a stale answer, %d times with one", f, b)
	}
	for text, n := range map[string]int{"<title>a run</title>": 1, ">eu-north<": 1, ">us-west<": 1, ">activate<": 2, ">fence<": 1, ">purge<": 1, ">purge again<": 1, ">barrier<": 2} {
		if got := strings.Count(fine, text); got != n {
			t.Errorf("%q is there %d times, want %d", text, got, n)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(bad)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
