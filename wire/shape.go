package wire

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shape walks the tokens of a document beside the type it will be decoded into.
//
// encoding/json silently takes the last of two equal keys and matches keys without
// regard to case (to it "ſize" is "size"), so one signed text could mean two things to
// two readers. Its errors from text forms do not name the field either.
type shape struct {
	name string
	d    *json.Decoder
	path []step // of the value being read
}

// step is one step of a path: a key or, where that is empty, an index.
type step struct {
	key   string
	index int
}

func checkShape(name string, data []byte, v any) error {
	s := &shape{name: name, d: json.NewDecoder(bytes.NewReader(data))}
	s.d.UseNumber()
	return s.value(reflect.TypeOf(v))
}

func (s *shape) value(t reflect.Type) error {
	if len(s.path) > maxDepth {
		return s.refuse("is nested deeper than %d", maxDepth)
	}
	tok, err := s.token()
	if err != nil {
		return err
	}
	t, text := target(t)
	if _, is := tok.(string); text && !is && tok != nil {
		return s.refuse("is not a text")
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			err = s.object(t)
		} else {
			err = s.array(t)
		}
		if err != nil {
			return err
		}
		_, err = s.token() // the closing bracket
		return err
	case string:
		if text {
			if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(tok)); err != nil {
				return s.refuse("%v", err)
			}
			return nil
		}
		if t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return nil // bytes are written as base64
		}
		return s.want(t, "a text", reflect.String)
	case bool:
		return s.want(t, "true or false", reflect.Bool)
	case json.Number:
		return s.number(t, tok)
	}
	return nil
}

// want refuses a value of a kind that t does not have.
func (s *shape) want(t reflect.Type, is string, kinds ...reflect.Kind) error {
	if t == nil || slices.Contains(kinds, t.Kind()) {
		return nil
	}
	return s.refuse("is %s, want %s", is, kindName(t))
}

// number refuses a number that t cannot hold exactly as it is written.
func (s *shape) number(t reflect.Type, n json.Number) (err error) {
	switch {
	case t == nil:
		return nil
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		_, err = strconv.ParseInt(n.String(), 10, t.Bits())
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uint64:
		_, err = strconv.ParseUint(n.String(), 10, t.Bits())
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		_, err = strconv.ParseFloat(n.String(), t.Bits())
	default:
		return s.want(t, "a number")
	}
	if err != nil {
		return s.refuse("is %s, want %s", n, kindName(t))
	}
	return nil
}

// kindName says what belongs where a t is.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return fmt.Sprintf("a whole number (%s)", t.Kind())
}

func (s *shape) object(t reflect.Type) error {
	if err := s.want(t, "an object", reflect.Struct, reflect.Map); err != nil {
		return err
	}
	var known map[string]reflect.Type
	if t != nil && t.Kind() == reflect.Struct {
		known = fields(t)
	}
	seen := make(map[string]bool, len(known))
	for s.d.More() {
		tok, err := s.token()
		if err != nil {
			return err
		}
		key := tok.(string) // the decoder takes nothing else here
		s.path = append(s.path, step{key: key})
		if seen[key] {
			return s.refuse("appears twice")
		}
		seen[key] = true
		var of reflect.Type
		switch {
		case known != nil:
			var ok bool
			if of, ok = known[key]; !ok {
				return s.refuse("is not a known field")
			}
		case t != nil && t.Kind() == reflect.Map:
			of = t.Elem()
		}
		if err := s.value(of); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
	}
	return nil
}

func (s *shape) array(t reflect.Type) error {
	if err := s.want(t, "a list", reflect.Slice, reflect.Array); err != nil {
		return err
	}
	var of reflect.Type
	if t != nil {
		of = t.Elem()
	}
	for i := 0; s.d.More(); i++ {
		s.path = append(s.path, step{index: i})
		if err := s.value(of); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
	}
	return nil
}

func (s *shape) token() (json.Token, error) {
	tok, err := s.d.Token()
	switch {
	case errors.Is(err, io.EOF) && s.d.InputOffset() == 0:
		return nil, fmt.Errorf("%s: %w: no JSON value", s.name, ErrInvalid)
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w: not JSON: it is cut short", s.name, ErrInvalid)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: not JSON: %v", s.name, ErrInvalid, err)
	}
	return tok, nil
}

func (s *shape) refuse(format string, args ...any) error {
	var path strings.Builder
	for i, p := range s.path {
		switch {
		case p.key == "":
			fmt.Fprintf(&path, "[%d]", p.index)
		case i > 0:
			path.WriteString("." + p.key)
		default:
			path.WriteString(p.key)
		}
	}
	return &FieldError{s.name, cmp.Or(path.String(), "document"), fmt.Sprintf(format, args...)}
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// target follows pointers. It returns nil for what decodes itself or takes anything, and
// says whether the type reads a text form.
func target(t reflect.Type) (_ reflect.Type, text bool) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil:
		return nil, false
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return t, true
	case reflect.PointerTo(t).Implements(jsonUnmarshaler), t.Kind() == reflect.Interface:
		return nil, false
	}
	return t, false
}

var fieldsOf sync.Map // reflect.Type → map[string]reflect.Type

// fields returns the keys of a struct, those of embedded structs included.
func fields(t reflect.Type) map[string]reflect.Type {
	if m, ok := fieldsOf.Load(t); ok {
		return m.(map[string]reflect.Type)
	}
	m := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported(), f.Tag.Get("json") == "-", f.Anonymous && name == "":
			continue
		case name == "":
			name = f.Name
		}
		m[name] = f.Type
	}
	fieldsOf.Store(t, m)
	return m
}
