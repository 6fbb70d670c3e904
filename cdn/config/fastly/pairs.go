package fastly

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// pairs is a JSON object of strings. Other than a map it refuses a key that is there
// twice, of which only one would arrive.
type pairs map[string]string

func (p *pairs) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("is not an object of strings")
	}
	*p = pairs{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key := t.(string) // the keys of an object are
		var value any
		if err := d.Decode(&value); err != nil {
			return err
		}
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("key %.100q: the value is not a string", key)
		}
		if _, twice := (*p)[key]; twice {
			return fmt.Errorf("key %.100q is there twice", key)
		}
		(*p)[key] = text
	}
	return nil
}

// fence is how the controller's generation fences begin, if they are in the same
// dictionary. They are no part of any release.
const fence = "mingen-"

// loadPairs reads a file of keys and values and holds it against the limits, which
// count characters.
func loadPairs(files fs.FS, name string, longestKey, longestValue int) (config.Content, error) {
	var p pairs
	if err := readJSON(files, name, &p); err != nil {
		return config.Content{}, err
	}
	for key, value := range p {
		switch n := utf8.RuneCountInString(key); {
		case n == 0:
			return config.Content{}, fmt.Errorf("%s: a key is empty", name)
		case n > longestKey:
			return config.Content{}, fmt.Errorf("%s: key %.40q… has %d characters, at most %d are taken", name, key, n, longestKey)
		case key == config.Mark || strings.HasPrefix(key, fence):
			return config.Content{}, fmt.Errorf("%s: key %q is kept for the release and the fences", name, key)
		}
		if n := utf8.RuneCountInString(value); n > longestValue {
			return config.Content{}, fmt.Errorf("%s: key %.100q: the value has %d characters, at most %d are taken", name, key, n, longestValue)
		}
	}
	return config.Content{Items: p}, nil
}

// state sorts what a dictionary or store holds.
func state(items map[string]string) config.State {
	s := config.State{Items: map[string]string{}}
	for key, value := range items {
		switch {
		case key == config.Mark:
			s.Release = value
		case strings.HasPrefix(key, fence):
			s.Hidden++
		default:
			s.Items[key] = value
		}
	}
	return s
}

// writes returns what a batch does to keys, the mark included, in order.
func writes(b config.Batch) []config.Change {
	all := slices.Clone(b.Changes)
	if b.Last && b.Have.Release != b.Want.Release { // what is not there cannot be deleted
		all = append(all, config.Change{Key: config.Mark, Value: b.Want.Release, Delete: b.Want.Release == ""})
	}
	return all
}
