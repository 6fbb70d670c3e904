package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
)

func newControllerInitCommand(c *cli) *cobra.Command {
	var fleet string
	var regions []string
	cmd := &cobra.Command{
		Use:   "init DIR --fleet NAME --region NAME…",
		Short: "Make a directory from which a controller can run",
		Long: `Make the trust of a new fleet (see "trust init"), the keys of NATS, a gossip key, an
admin token and a controller.yaml to begin with. Nothing that exists is overwritten.`,
		Args: takes("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if fleet == "" || len(regions) == 0 {
				return usagef("--fleet and at least one --region are required")
			}
			for _, name := range append([]string{fleet}, regions...) {
				if err := wire.CheckToken(name); err != nil {
					return usagef("a name of a fleet or region %v", err)
				}
			}
			if err := initController(args[0], wire.Fleet(fleet), regions); err != nil {
				return fmt.Errorf("cannot make a controller in %s: %w", args[0], err)
			}
			c.progress("made controller.yaml, its keys and admin.token; now take root.key and author.key off this machine")
			_, err := fmt.Fprintln(c.out, filepath.Join(args[0], "controller.yaml"))
			return err
		},
	}
	cmd.Flags().StringVar(&fleet, "fleet", "", "name of the fleet (required)")
	cmd.Flags().StringArrayVar(&regions, "region", nil, "name of a region; repeat for more (required)")
	return cmd
}

// rootLasts is how long the first root is valid.
const rootLasts = 365 * 24 * time.Hour

func initController(dir string, fleet wire.Fleet, regions []string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("it is not empty")
	}
	if err := initTrust(dir, fleet, time.Now().UTC().Add(rootLasts).Truncate(time.Second)); err != nil {
		return err
	}
	if _, err := hub.OpenKeys(filepath.Join(dir, "hub")); err != nil {
		return err
	}
	token, err := api.GenerateToken(rand.Reader)
	if err != nil {
		return err
	}
	gossip := make([]byte, 32)
	if _, err := rand.Read(gossip); err != nil {
		return err
	}
	config := controllerConfig{
		Listen: "127.0.0.1:7420", State: "state", Keys: ".", Tokens: "tokens",
		NATS: natsConfig{Hub: "hub", Listen: "127.0.0.1:4222"}, Lost: wire.Duration(30 * time.Second), OriginFetch: wire.Duration(2 * time.Second),
		Gossip:    gossipConfig{Key: "gossip.key", Seeds: map[wire.Region][]string{}},
		Providers: map[string]providerConfig{}, Regions: map[wire.Region]regionConfig{},
	}
	for _, r := range regions {
		config.Regions[wire.Region(r)] = regionConfig{}
	}
	var text strings.Builder
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(config); err != nil {
		return err
	}
	return createFiles(
		file{filepath.Join(dir, "admin.token"), []byte(token + "\n")},
		file{filepath.Join(dir, "tokens"), []byte(api.TokenLine("admin", api.RoleAdmin, token))},
		file{filepath.Join(dir, "gossip.key"), []byte(base64.StdEncoding.EncodeToString(gossip) + "\n")},
		file{filepath.Join(dir, "controller.yaml"), []byte(text.String())},
	)
}
