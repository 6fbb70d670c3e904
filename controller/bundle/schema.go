package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	schemaDir     = "schemas"
	schemaBase    = "bundle:///"
	maxSchema     = 4 << 20  // bytes of a schema
	maxSchemaFile = 64 << 20 // bytes of a file that is held against one
)

// schemas holds files against JSON Schemas.
type schemas struct {
	globs   []string // in ascending order
	byGlob  map[string]*jsonschema.Schema
	matched map[string]bool
}

// loadSchemas compiles the schemas a spec names. A schema may refer to others in the
// same directory, and to nothing else: building a bundle must not depend on a network.
func loadSchemas(root *os.Root, spec map[string]string) (*schemas, error) {
	s := &schemas{globs: wire.Keys(spec), byGlob: make(map[string]*jsonschema.Schema), matched: make(map[string]bool)}
	c := jsonschema.NewCompiler()
	c.UseLoader(schemaLoader{root})
	for _, glob := range s.globs {
		field := fmt.Sprintf("schemas[%q]", glob)
		if !doublestar.ValidatePattern(glob) || glob == "" {
			return nil, &wire.FieldError{Doc: specFile, Field: field, Reason: "is not a valid glob"}
		}
		if err := wire.CheckPath(spec[glob]); err != nil {
			return nil, &wire.FieldError{Doc: specFile, Field: field, Reason: err.Error()}
		}
		schema, err := c.Compile(schemaBase + strings.TrimPrefix(spec[glob], schemaDir+"/"))
		if err != nil {
			return nil, &wire.FieldError{Doc: specFile, Field: field, Reason: oneLine(err)}
		}
		s.byGlob[glob] = schema
	}
	return s, nil
}

// check holds a file against the schemas whose globs match its path in the bundle.
func (s *schemas) check(rel, name string, f io.ReadSeeker) error {
	for _, glob := range s.globs {
		if !doublestar.MatchUnvalidated(glob, rel) {
			continue
		}
		s.matched[glob] = true
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxSchemaFile+1))
		if err != nil {
			return err
		}
		if len(data) > maxSchemaFile {
			return refuse(name, "has more than %d bytes, too many to hold it against a schema", maxSchemaFile)
		}
		value, err := parse(rel, data)
		if err != nil {
			return refuse(name, "cannot be read as %s: %s", strings.TrimPrefix(path.Ext(rel), "."), oneLine(err))
		}
		if err := s.byGlob[glob].Validate(value); err != nil {
			return refuse(name, "does not match its schema: %s", oneLine(err))
		}
	}
	return nil
}

// unmatched returns the first glob that matched no file, if any: a misspelt one would
// check nothing for ever.
func (s *schemas) unmatched() error {
	for _, glob := range s.globs {
		if !s.matched[glob] {
			return &wire.FieldError{Doc: specFile, Field: fmt.Sprintf("schemas[%q]", glob), Reason: "matches no file of the bundle"}
		}
	}
	return nil
}

func parse(name string, data []byte) (any, error) {
	switch path.Ext(name) {
	case ".json":
		return jsonschema.UnmarshalJSON(bytes.NewReader(data))
	case ".yaml", ".yml":
		var v any
		return v, yaml.Unmarshal(data, &v)
	}
	return nil, errors.New("only .json, .yaml and .yml files can be held against a schema")
}

// schemaLoader reads schemas from the bundle's directory.
type schemaLoader struct{ root *os.Root }

func (l schemaLoader) Load(url string) (any, error) {
	name, ok := strings.CutPrefix(url, schemaBase)
	if !ok {
		return nil, fmt.Errorf("%s is outside of %s/", url, schemaDir)
	}
	f, info, err := openRegular(l.root, path.Join(schemaDir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxSchema {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", name, info.Size(), maxSchema)
	}
	return jsonschema.UnmarshalJSON(io.LimitReader(f, maxSchema))
}

// oneLine joins the lines of an error, deepest last.
func oneLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], " -")
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), schemaBase, schemaDir+"/")
}
