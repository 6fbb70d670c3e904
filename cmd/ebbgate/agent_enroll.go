package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

func newAgentEnrollCommand(c *cli) *cobra.Command {
	var region, dir string
	cmd := &cobra.Command{
		Use:   "enroll AGENT --region REGION -d DIR",
		Short: "Admit an agent, and make what its node needs",
		Long: `Make the agent's key, admit it to a region, and write agent.yaml, agent.key, agent.creds,
root.json and gossip.key into DIR, each with mode 0600.

The key is made here and only its public half is sent. Run this on the node itself, or
copy DIR there over a safe way. Then name the node's apps in agent.yaml.`,
		Args: takes("AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("--dir is missing")
			}
			if err := checkAgent(region, args[0]); err != nil {
				return err
			}
			if err := refuseExisting(dir); err != nil {
				return cannot(err, "enroll %s", args[0])
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			e, err := enroll(cmd.Context(), cl, controller.EnrollRequest{Region: wire.Region(region), Agent: wire.AgentID(args[0])}, dir)
			if err != nil {
				return cannot(err, "enroll %s in %s", args[0], region)
			}
			c.progress("enrolled agent %s in %s; now name its apps in agent.yaml", e.Agent, e.Region)
			_, err = fmt.Fprintln(c.out, filepath.Join(dir, "agent.yaml"))
			return err
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "the region (required)")
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "directory for the files (required)")
	return cmd
}

// enroll makes the key, admits the agent and writes the files. The key is on disk before
// the controller learns of it: a name that is enrolled with a key that was lost could
// never be used. If it is not known how far the controller came, the key stays, and the
// same command takes up where this one ended.
func enroll(ctx context.Context, cl *api.Client, q controller.EnrollRequest, dir string) (e controller.Enrolment, err error) {
	regions, err := cl.Regions(ctx)
	if err != nil {
		return e, err
	}
	if !slices.ContainsFunc(regions, func(r controller.RegionView) bool { return r.Region == q.Region }) {
		return e, fmt.Errorf("region %q is not configured", q.Region)
	}
	if err := makeDir(dir); err != nil {
		return e, err
	}
	path := filepath.Join(dir, "agent.key")
	key, err := readKey(path)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		if key, err = wire.GenerateKey(rand.Reader); err == nil {
			err = createFiles(file{path, []byte(key.Secret() + "\n")})
		}
	}
	if err != nil {
		return e, err
	}
	q.Key = key.Public()
	if e, err = cl.Enroll(ctx, q); err != nil {
		if refused := (*api.Error)(nil); made && errors.As(err, &refused) {
			os.Remove(path)
		}
		return e, err
	}
	files, err := enrolmentFiles(dir, e)
	if err != nil {
		return e, err
	}
	return e, createFiles(files...)
}

// refuseExisting keeps an enrolled node's files. A lone key is what an enrolment that was
// cut short left.
func refuseExisting(dir string) error {
	for _, name := range []string{"agent.yaml", "agent.creds", "root.json", "gossip.key"} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, reason(err))
		}
	}
	return nil
}

// agentYAML is what enrolment knows of agent.yaml, under the names that the agent reads.
type agentYAML struct {
	ID     wire.AgentID `yaml:"id"`
	Region wire.Region  `yaml:"region"`
	State  string       `yaml:"state"`
	Root   string       `yaml:"root"`
	Key    string       `yaml:"key"`
	NATS   struct {
		Servers []string `yaml:"servers"`
		Creds   string   `yaml:"creds"`
	} `yaml:"nats"`
	Gossip *gossipYAML `yaml:"gossip,omitempty"`
}

type gossipYAML struct {
	Bind  string   `yaml:"bind"`
	Seeds []string `yaml:"seeds,omitempty"`
	Key   string   `yaml:"key"`
}

const appsYAML = `
# What this node serves, by app. Without an app the agent does not start. A provider agent
# has targets instead: see ebbgate provider-agent --help.
# apps:
#   edge-proxy:
#     kind: nginx          # or builtin, files
#     listen: 0.0.0.0:80
`

// enrolmentFiles returns the files of an agent but for its key. Paths in agent.yaml are relative to it.
func enrolmentFiles(dir string, e controller.Enrolment) ([]file, error) {
	if _, err := wire.NewTrust(e.Root); err != nil {
		return nil, fmt.Errorf("the controller sent a bad root: %w", err)
	}
	y := agentYAML{ID: e.Agent, Region: e.Region, State: "state", Root: "root.json", Key: "agent.key"}
	y.NATS.Servers, y.NATS.Creds = e.Servers, "agent.creds"
	files := []file{
		{filepath.Join(dir, "agent.creds"), []byte(e.Creds)},
		{filepath.Join(dir, "root.json"), append(e.Root, '\n')},
	}
	if e.GossipKey != "" {
		b, err := base64.StdEncoding.DecodeString(e.GossipKey)
		if err != nil || len(b) != 32 {
			return nil, errors.New("the controller sent a bad gossip key: want 32 bytes in base64")
		}
		files = append(files, file{filepath.Join(dir, "gossip.key"), []byte(hex.EncodeToString(b) + "\n")})
		y.Gossip = &gossipYAML{Bind: "0.0.0.0:7946", Seeds: e.Seeds, Key: "gossip.key"}
	}
	text, err := yaml.Marshal(y)
	if err != nil {
		return nil, err
	}
	return append(files, file{filepath.Join(dir, "agent.yaml"), append(text, appsYAML...)}), nil
}
