package lab

import (
	"context"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// enroll admits every agent as an operator does, and completes its agent.yaml with what
// only this machine knows.
func (l *Lab) enroll(ctx context.Context) error {
	for _, n := range l.Nodes {
		dir := l.path("agents", string(n.ID))
		if _, err := l.Run(ctx, "agent", "enroll", string(n.ID), "--region", string(n.Region), "-d", dir, "-q"); err != nil {
			return err
		}
		if err := merge(dir+"/agent.yaml", dir+".local"); err != nil {
			return fmt.Errorf("cannot configure agent %s: %w", n.ID, err)
		}
	}
	return nil
}

// merge lays the keys of the YAML file local over those of the file path.
func merge(path, local string) error {
	var into, from map[string]any
	for _, f := range []struct {
		path string
		doc  *map[string]any
	}{{path, &into}, {local, &from}} {
		text, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(text, f.doc); err != nil {
			return err
		}
	}
	overlay(into, from)
	text, err := yaml.Marshal(into)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func overlay(into, from map[string]any) {
	for key, value := range from {
		below, isMap := value.(map[string]any)
		if there, both := into[key].(map[string]any); isMap && both {
			overlay(there, below)
			continue
		}
		into[key] = value
	}
}
