package main

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/wire"
)

// checkScalars refuses the numbers and durations of a document that is read into t which the
// decoder takes otherwise than they are written, 1.5 as 1, or refuses without saying where.
// Whatever else is wrong with the document is for the decoder to say.
func checkScalars(data []byte, t reflect.Type) error {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	return checkNode(doc.Content[0], t, "")
}

// checkNode does not follow aliases: what they stand for is looked at where it is written.
func checkNode(n *yaml.Node, t reflect.Type, field string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && t == reflect.TypeFor[wire.Duration]():
		if err := new(wire.Duration).UnmarshalText([]byte(n.Value)); err != nil {
			return wrong(field, "%w", err)
		}
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && n.Tag != "!!int" && t.Kind() == reflect.Int:
		return wrong(field, "%q is not a whole number", wire.Clip(n.Value))
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range n.Content {
			if err := checkNode(item, t.Elem(), fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			of, known := valueType(t, key)
			if !known {
				continue
			}
			if err := checkNode(n.Content[i+1], of, strings.TrimPrefix(field+"."+key, ".")); err != nil {
				return err
			}
		}
	}
	return nil
}

// valueType returns the type of what stands behind a key in a mapping that is read into t.
func valueType(t reflect.Type, key string) (reflect.Type, bool) {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if f.Tag.Get("yaml") == key {
				return f.Type, true
			}
		}
	}
	return nil, false
}
