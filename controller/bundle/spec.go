package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	specFile = "bundle.yaml"
	maxSpec  = 1 << 20
)

// Spec is bundle.yaml. It is read strictly: an unknown or repeated field is an error.
type Spec struct {
	Fleet   wire.Fleet   `yaml:"fleet"` // optional; if set, other fleets refuse the bundle
	App     wire.App     `yaml:"app"`
	Version wire.Version `yaml:"version"`
	Floor   wire.Version `yaml:"floor"` // optional; lowest version a node may go back to
	Limits  Limits       `yaml:"limits"`
	Probes  []Probe      `yaml:"probes"`
	Purge   []PurgeRule  `yaml:"purge"`
	Hooks   []string     `yaml:"hooks"`
	// Schemas checks JSON and YAML files when the bundle is built.
	Schemas map[string]string `yaml:"schemas"` // glob over paths → file under schemas/

	lines map[string]int // path of a field → its line
}

// Limits mirrors [wire.Limits].
type Limits struct {
	Files  int     `yaml:"files"`
	Bytes  int64   `yaml:"bytes"`
	File   int64   `yaml:"file"`
	Growth float64 `yaml:"growth"`
}

// Probe mirrors [wire.Probe].
type Probe struct {
	Path   string `yaml:"path"`
	Host   string `yaml:"host"`
	Status int    `yaml:"status"`
	Body   string `yaml:"body"`
}

// PurgeRule mirrors [wire.PurgeRule].
type PurgeRule struct {
	Files     string   `yaml:"files"`
	Selectors []string `yaml:"selectors"`
}

// ParseSpec reads a bundle.yaml. Its errors name line and field; they wrap
// [wire.ErrInvalid].
func ParseSpec(data []byte) (*Spec, error) {
	if len(data) > maxSpec {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", specFile, wire.ErrTooLarge, len(data), maxSpec)
	}
	s := &Spec{lines: make(map[string]int)}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(s); err != nil {
		return nil, yamlError(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w: more than one document", specFile, wire.ErrInvalid)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, yamlError(err)
	}
	for _, n := range root.Content {
		s.index("", n)
	}
	return s, s.check()
}

// manifest returns what the manifest takes from the spec.
func (s *Spec) manifest() *wire.Manifest {
	m := &wire.Manifest{Format: 1, Fleet: s.Fleet, App: s.App, Version: s.Version, Floor: s.Floor,
		Limits: wire.Limits(s.Limits), Hooks: s.Hooks}
	for _, p := range s.Probes {
		m.Probes = append(m.Probes, wire.Probe(p))
	}
	for _, p := range s.Purge {
		m.Purge = append(m.Purge, wire.PurgeRule(p))
	}
	return m
}

// check holds the spec against the rules of a manifest, as if it had one file.
func (s *Spec) check() error {
	m := s.manifest()
	m.Limits = wire.Limits{Growth: s.Limits.Growth, Files: min(s.Limits.Files, 0), Bytes: min(s.Limits.Bytes, 0), File: min(s.Limits.File, 0)}
	m.Files = []wire.File{{Path: "x", Mode: wire.ModeRegular, SHA256: wire.Digest{1}}}
	if err := s.at(m.Validate()); err != nil {
		return err
	}
	for i, p := range s.Purge {
		if err := cdn.Rule(p).Validate(); err != nil {
			return s.at(&wire.FieldError{Doc: specFile, Field: fmt.Sprintf("purge[%d]", i), Reason: strings.TrimPrefix(err.Error(), "rules[0].")})
		}
	}
	return nil
}

// at rewrites the refusal of a manifest as one of bundle.yaml, with the line.
func (s *Spec) at(err error) error {
	var fe *wire.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	line := 0
	for f := fe.Field; f != "" && line == 0; {
		line = s.lines[f]
		f = f[:max(0, strings.LastIndexAny(f, ".["))]
	}
	doc := specFile
	if line > 0 {
		doc += ":" + strconv.Itoa(line)
	}
	return &wire.FieldError{Doc: doc, Field: fe.Field, Reason: fe.Reason}
}

// index notes the line of every field below n.
func (s *Spec) index(at string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			field := n.Content[i].Value
			if at != "" {
				field = at + "." + field
			}
			s.lines[field] = n.Content[i].Line
			s.index(field, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			field := fmt.Sprintf("%s[%d]", at, i)
			s.lines[field] = e.Line
			s.index(field, e)
		}
	}
}

func yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w: is empty", specFile, wire.ErrInvalid)
	}
	return fmt.Errorf("%s: %w: %s", specFile, wire.ErrInvalid, wire.YAMLReason(err))
}
