package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds the nesting of a document: ours have at most six levels.
const maxDepth = 16

// document is a value with an own strict check.
type document interface {
	// Validate reports the first field that is wrong as a [*FieldError].
	Validate() error
}

// encode returns the one JSON encoding of a document: fields in declared order,
// map keys sorted, no HTML escaping, no trailing newline.
func encode(doc document) ([]byte, error) {
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	return EncodeJSON(doc)
}

// EncodeJSON encodes v as documents are: fields in declared order, map keys
// sorted, no HTML escaping, no trailing newline.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode fills doc from data, strictly, and validates it.
func decode(name string, limit int, data []byte, doc document) error {
	if err := DecodeJSON(name, limit, data, doc); err != nil {
		return err
	}
	return doc.Validate()
}

// DecodeJSON fills v from data. It refuses more than limit bytes, unknown keys,
// duplicate keys (also those that differ only in case), nesting deeper than 16, and
// anything after the value. name is the document's, for the error.
func DecodeJSON(name string, limit int, data []byte, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, len(data), limit)
	}
	if err := checkKeys(name, data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return &FieldError{name, te.Field, fmt.Sprintf("is a JSON %s, want %s", te.Value, te.Type)}
		}
		return fmt.Errorf("%s: %w: %s", name, ErrInvalid, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// checkKeys walks the tokens of data: encoding/json silently takes the last of two
// equal keys, and matches keys without regard to case, so one signed text could mean
// two things to two readers. Keys that differ only in case count as equal.
func checkKeys(name string, data []byte) error {
	type level struct {
		keys map[string]bool // nil in an array
		key  string
		want bool // the next token is a key
	}
	var stack []level
	path := func() string {
		var p []string
		for _, l := range stack {
			if l.keys != nil {
				p = append(p, l.key)
			}
		}
		return strings.Join(p, ".")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && len(stack) == 0 {
			return fmt.Errorf("%s: %w: no JSON value", name, ErrInvalid)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: not JSON: %v", name, ErrInvalid, err)
		}
		top := len(stack) - 1
		if top >= 0 && stack[top].want {
			if key, ok := tok.(string); ok {
				fold := strings.ToLower(key)
				if stack[top].key = key; stack[top].keys[fold] {
					return &FieldError{name, path(), "appears twice"}
				}
				stack[top].keys[fold], stack[top].want = true, false
				continue
			}
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			l := level{}
			if tok == json.Delim('{') {
				l = level{keys: map[string]bool{}, want: true}
			}
			if stack = append(stack, l); len(stack) > maxDepth {
				return &FieldError{name, path(), fmt.Sprintf("is nested deeper than %d", maxDepth)}
			}
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
		if len(stack) == 0 {
			if _, err := d.Token(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s: %w: data after the document", name, ErrInvalid)
			}
			return nil
		}
		if t := &stack[len(stack)-1]; t.keys != nil {
			t.want = true
		}
	}
}
