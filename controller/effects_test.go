package controller_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
)

// asked is an effect that counts how often it is asked for its ID.
type asked struct {
	n     int
	times *int
}

func (a asked) ID() string {
	*a.times++
	return fmt.Sprint(a.n)
}

// Effects wait in order, each once until it is taken, and what one more costs does not
// depend on how many wait.
func TestEffectQueue(t *testing.T) {
	t.Parallel()
	const n = 1000
	var q controller.EffectQueue
	times := 0
	for range 2 {
		for i := range n {
			q.Add(asked{i, &times})
		}
	}
	var got, want []int
	take := func() bool {
		e, more := q.Next()
		if more {
			got = append(got, e.(asked).n)
		}
		return more
	}
	take()
	q.Add(asked{0, &times}) // it has been taken
	for take() {
	}
	for i := range n {
		want = append(want, i)
	}
	if want = append(want, 0); !slices.Equal(got, want) {
		t.Errorf("%d effects were taken, want %d in the order in which they came", len(got), len(want))
	}
	if most := 4 * n; times > most {
		t.Errorf("of %d effects IDs were asked for %d times, want at most %d", n, times, most)
	}
}
