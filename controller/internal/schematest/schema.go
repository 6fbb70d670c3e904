// Package schematest makes JSON Schemas (draft 2020-12) from Go types, for the tests that
// hold a committed document against the types it describes. No program links it.
package schematest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Object is a schema, or any other JSON object.
type Object = map[string]any

// Generator turns types into schemas. A struct becomes a reference to a schema of its own.
type Generator struct {
	Ref     string                  // what such a reference begins with: "#/$defs/"
	Schemas Object                  // required: name of a struct, "rollout.Plan" → its schema
	Types   map[reflect.Type]Object // schemas of types that say themselves how they are written
	Docs    *Docs                   // nil: no descriptions and no enumerations
}

var (
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	nonWord  = regexp.MustCompile(`\W+`)
)

// Name returns what a type is called in the document.
func Name(t reflect.Type) string {
	return strings.Trim(nonWord.ReplaceAllString(path.Base(t.PkgPath())+"."+t.Name(), "."), ".")
}

// Of returns the schema of a type. It panics on one that JSON cannot hold.
func (g *Generator) Of(t reflect.Type) Object {
	if s, special := g.Types[t]; special {
		return maps.Clone(s)
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return Object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return Object{"type": "integer", "description": "nanoseconds"}
	case t == reflect.TypeFor[json.RawMessage]():
		return Object{}
	case t.Implements(textType):
		return Object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.Of(t.Elem())
	case reflect.String:
		s := Object{"type": "string"}
		if values := g.Docs.values(t); values != nil {
			s["enum"] = values
		}
		return s
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.Float64:
		return Object{"type": "number"}
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Int, reflect.Int32, reflect.Int64:
		return Object{"type": "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Object{"type": "string", "contentEncoding": "base64"}
		}
		return Object{"type": "array", "items": g.Of(t.Elem())}
	case reflect.Map:
		return Object{"type": "object", "additionalProperties": g.Of(t.Elem())}
	case reflect.Interface:
		return Object{}
	case reflect.Struct:
		return g.structure(t)
	}
	panic("no schema for " + t.String())
}

func (g *Generator) structure(t reflect.Type) Object {
	name := Name(t)
	if _, known := g.Schemas[name]; !known {
		s := Object{"type": "object"}
		g.Schemas[name] = s // before the fields: a type may hold itself
		properties, required := Object{}, []string{}
		g.fields(t, properties, &required)
		s["properties"] = properties
		if len(required) > 0 {
			slices.Sort(required)
			s["required"] = required
		}
		describe(s, g.Docs.Type(t))
	}
	return Object{"$ref": g.Ref + name}
}

func (g *Generator) fields(t reflect.Type, properties Object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported():
		case f.Anonymous && tag == "":
			g.fields(f.Type, properties, required)
		default:
			if tag == "" {
				tag = f.Name
			}
			s := g.Of(f.Type)
			describe(s, g.Docs.field(t, f))
			properties[tag] = s
			if !strings.Contains(options, "omit") {
				*required = append(*required, tag)
			}
		}
	}
}

func describe(s Object, text string) {
	if text != "" {
		s["description"] = text
	}
}

// Encode writes a document as it is committed.
func Encode(t testing.TB, document Object) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(document); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
