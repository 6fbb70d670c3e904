package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document: ours have at most six levels.
const maxDepth = 16

// document is a value with an own strict check.
type document interface {
	// Validate reports the first field that is wrong as a [*FieldError].
	Validate() error
}

// encode returns the one JSON encoding of a document: fields in declared order, map
// keys sorted, no HTML escaping, no trailing newline.
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

// DecodeJSON fills v, a pointer, from data. It refuses more than limit bytes, text that
// is not UTF-8, keys that v does not have in exactly that spelling, duplicate keys,
// nesting deeper than 16, and anything after the value. name is the document's, for the
// error, which is a [*FieldError] wherever a field is to blame.
func DecodeJSON(name string, limit int, data []byte, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, len(data), limit)
	}
	if !utf8.Valid(data) {
		return fmt.Errorf("%s: %w: is not UTF-8", name, ErrInvalid)
	}
	if err := checkShape(name, data, v); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w: %s", name, ErrInvalid, strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w: data after the document", name, ErrInvalid)
	}
	return nil
}
