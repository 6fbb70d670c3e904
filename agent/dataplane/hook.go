package dataplane

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Hook is a command of the node's own configuration. A bundle can name it and no more:
// neither the program nor an argument comes from outside the node.
type Hook struct {
	Argv    []string      `yaml:"argv"`    // program by absolute path, and its arguments; no shell
	Timeout wire.Duration `yaml:"timeout"` // default 30s; then the whole process group is killed
}

const hookTimeout = 30 * time.Second

func (h Hook) validate() error {
	if len(h.Argv) == 0 {
		return fmt.Errorf("argv is empty")
	}
	if !filepath.IsAbs(h.Argv[0]) {
		return fmt.Errorf("argv: %q is not an absolute path", h.Argv[0])
	}
	return nil
}

// checkHooks reports a name that this node does not define.
func (c *Config) checkHooks(r Release) error {
	for _, name := range r.Hooks {
		if _, defined := c.Hooks[name]; !defined {
			return fmt.Errorf("hook %q is not defined in this node's configuration", name)
		}
	}
	return nil
}

// runHooks runs the hooks of r in order, and stops at the first that fails.
func (c *Config) runHooks(ctx context.Context, r Release) error {
	if err := c.checkHooks(r); err != nil {
		return err
	}
	for _, name := range r.Hooks {
		h := c.Hooks[name]
		limit := h.Timeout.Std()
		if limit == 0 {
			limit = hookTimeout
		}
		cmd := command{argv: h.Argv, dir: r.Dir, timeout: limit, env: []string{
			"EBBGATE_APP=" + string(r.App),
			"EBBGATE_REGION=" + string(r.Region),
			"EBBGATE_VERSION=" + string(r.Version),
			"EBBGATE_EPOCH=" + r.Epoch.String(),
			"EBBGATE_DIGEST=" + r.Digest.String(),
			"EBBGATE_RELEASE=" + r.ID(),
			"EBBGATE_DIR=" + r.Dir,
		}}
		if _, err := cmd.run(ctx); err != nil {
			return fmt.Errorf("hook %s: %w", name, err)
		}
		c.Logger.Info("hook done", "app", c.App, "hook", name, "release", r.ID(), "argv", slices.Clone(h.Argv))
	}
	return nil
}
