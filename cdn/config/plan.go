package config

import (
	"fmt"
	"maps"
	"slices"
)

// plan returns the changes that lead from have to want, each kind sorted by key:
// first what is set and then what is deleted, so that nothing is missing meanwhile,
// or the other way round where both do not fit.
func plan(t Target, have, want State) []Change {
	var set, deleted []Change
	added := 0
	for _, key := range slices.Sorted(maps.Keys(want.Items)) {
		value, there := have.Items[key]
		if there && t.Same(key, value, want.Items[key]) {
			continue
		}
		if !there {
			added++
		}
		set = append(set, Change{Key: key, Value: want.Items[key]})
	}
	for _, key := range slices.Sorted(maps.Keys(have.Items)) {
		if _, wanted := want.Items[key]; !wanted {
			deleted = append(deleted, Change{Key: key, Delete: true})
		}
	}
	if most := t.Limits().Items; most > 0 && len(have.Items)+added+have.Hidden+1 > most {
		return append(deleted, set...)
	}
	return append(set, deleted...)
}

// batches cuts changes into what one Write takes. There is always one, because the
// mark goes with the last.
func batches(l Limits, changes []Change) [][]Change {
	most := l.Batch - 1 // the mark may come on top
	out := [][]Change{nil}
	size := 0
	for _, c := range changes {
		last := len(out) - 1
		cost := len(c.Key) + len(c.Value)
		if len(out[last]) > 0 && (l.Batch > 0 && len(out[last]) >= most || l.Bytes > 0 && size+cost > l.Bytes) {
			out, size = append(out, nil), 0
			last++
		}
		out[last] = append(out[last], c)
		size += cost
	}
	return out
}

// difference says in one line how have is not want, by keys alone: values may be
// secrets. It is "" when nothing differs.
func difference(t Target, have, want State) string {
	if changes := plan(t, have, want); len(changes) > 0 {
		what := "differs"
		if _, there := have.Items[changes[0].Key]; !there {
			what = "is missing"
		} else if changes[0].Delete {
			what = "does not belong there"
		}
		return fmt.Sprintf("%d of its items are not as released, first %.100q, which %s", len(changes), changes[0].Key, what)
	}
	if have.Release != want.Release {
		return fmt.Sprintf("it shows release %.100q, want %q", have.Release, want.Release)
	}
	return ""
}
