package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/wire"
)

func newDevCommand(c *cli) *cobra.Command {
	var demo bool
	var plane, dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole fleet on this machine, to try things out",
		Long: `Run a controller with an embedded NATS server, three regions of three agents as
processes of their own, each with its data plane, and stand-ins for Fastly and
Cloudflare, all on loopback. It stays until it is interrupted.

With --demo it plays a rollout, a node that dies, and a bad release, and ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			planes := map[string]func(wire.Region, string) string{"builtin": lab.Builtin, "nginx": lab.Nginx}
			section, known := planes[plane]
			if !known {
				return usagef("--plane %q is not builtin or nginx", plane)
			}
			if plane == "nginx" {
				if _, err := exec.LookPath("nginx"); err != nil {
					return errors.New("cannot run a fleet on nginx: nginx is not installed")
				}
			}
			return runDev(cmd.Context(), c, dir, section, demo)
		},
	}
	cmd.Flags().BoolVar(&demo, "demo", false, "play the demo and end")
	cmd.Flags().StringVar(&plane, "plane", "builtin", "data plane of the agents: builtin or nginx")
	cmd.Flags().StringVar(&dir, "dir", "", "new directory for everything the fleet keeps; default: a temporary one, removed at the end")
	return cmd
}

const devApp wire.App = "edge-proxy"

func runDev(ctx context.Context, c *cli, dir string, plane func(wire.Region, string) string, demo bool) error {
	ebbgate, agent, err := lab.Binaries()
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ebbgate-dev-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := makeDir(dir); err != nil {
		return fmt.Errorf("cannot make a fleet: %w", err)
	} else if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return errors.Join(err, fmt.Errorf("cannot make a fleet in %s: it is not empty", dir))
	}
	c.progress("starting a controller and 9 agents …")
	l, err := lab.Start(ctx, lab.Config{
		Dir: dir, Ebbgate: ebbgate, Agent: agent, Agents: 3,
		Regions: []wire.Region{"eu-west", "us-east", "ap-south"},
		Apps:    []lab.App{{Name: devApp, Plane: plane}},
	})
	if err != nil {
		return fmt.Errorf("cannot start the fleet: %w", err)
	}
	defer l.Close()
	if err := writeDevInput(dir); err != nil {
		return err
	}
	if demo {
		return runDemo(ctx, c, l)
	}
	fmt.Fprintf(c.out, `The fleet runs. In another shell:

  export %s
  cd %s
  ebbgate agent ls
  ebbgate publish v1 --key %s
  ebbgate rollout start %s 1.0.0 -f first.yaml -w
  ebbgate publish v2 --key %[3]s
  ebbgate plan -f plan.yaml %[4]s 1.1.0
  ebbgate rollout start %[4]s 1.1.0 -f plan.yaml -w
  ebbgate purge status --region eu-west
  ebbgate rollout explain %[4]s

Its nodes answer at:
`, strings.Join(l.Env(), " "), dir, l.Key(), devApp)
	for _, n := range l.Nodes {
		fmt.Fprintf(c.out, "  %-12s %s\n", n.ID, n.URL[devApp])
	}
	fmt.Fprintln(c.out, "\nInterrupt to stop it.")
	<-ctx.Done()
	return nil
}

// writeDevInput writes the bundles and plans to play with.
func writeDevInput(dir string) error {
	for _, b := range []struct {
		dir, version, greeting, rules string
		broken                        bool
	}{
		{"v1", "1.0.0", "hello", "deny /admin", false},
		{"v2", "1.1.0", "hello again", "deny /admin", false},
		{"v3", "1.2.0", "hello again", "deny /admin, deny /login", false},
		{"v4", "1.3.0", "hello, broken", "deny everything", true},
	} {
		if err := lab.Bundle(filepath.Join(dir, b.dir), b.version, b.greeting, b.rules, b.broken); err != nil {
			return fmt.Errorf("cannot write bundle %s: %w", b.dir, err)
		}
	}
	plans := map[string]string{
		"first.yaml": `# Nothing runs yet: every region at once, node by node.
healthy: 500ms
soak: 10s
deadline: 1m
max_unavailable: 2
waves:
- regions: [eu-west, us-east, ap-south]
`,
		"plan.yaml": `# One node of eu-west, the rest of it, then region by region. A region may leave one
# silent node behind.
healthy: 500ms
soak: 10s
deadline: 1m
max_unavailable: 2
max_unreachable: 1
waves:
- regions: [eu-west]
  strategy: canary
  steps:
  - {activate: 1, bake: 500ms}
  - {activate: 100%}
- regions: [us-east]
- regions: [ap-south]
`,
	}
	for name, text := range plans {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
