package main

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/wire"
)

func newTrustInitCommand(c *cli) *cobra.Command {
	var fleet string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "init DIR --fleet NAME",
		Short: "Make the keys and the signed root of a new fleet",
		Long: `Make root.key, author.key and controller.key (mode 0600) and root.json, the root that
says what each may sign, signed by root.key.

Give root.json to the controller; agents get it when they are enrolled. Then take
root.key off this machine: it is needed only to change the root.`,
		Args: takes("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if fleet == "" {
				return usagef("--fleet is missing")
			}
			if err := checkFlag("fleet", fleet); err != nil {
				return err
			}
			if lasts < 24*time.Hour {
				return usagef("--lasts %s is shorter than a day", lasts)
			}
			if err := initTrust(args[0], wire.Fleet(fleet), time.Now().UTC().Add(lasts).Truncate(time.Second)); err != nil {
				return fmt.Errorf("cannot make the trust of fleet %s: %w", fleet, err)
			}
			c.progress("made root.key, author.key, controller.key and root.json; now take root.key off this machine")
			_, err := fmt.Fprintln(c.out, filepath.Join(args[0], "root.json"))
			return err
		},
	}
	cmd.Flags().StringVar(&fleet, "fleet", "", "name of the fleet (required)")
	cmd.Flags().DurationVar(&lasts, "lasts", 365*24*time.Hour, "how long the root is valid")
	return cmd
}

func initTrust(dir string, fleet wire.Fleet, expires time.Time) error {
	root := wire.Root{Fleet: fleet, Version: 1, Expires: expires, Roles: map[wire.Role]wire.KeyRole{}}
	keys := make(map[wire.Role]wire.PrivateKey)
	var files []file
	for _, role := range []wire.Role{wire.RoleRoot, wire.RoleAuthor, wire.RoleController} {
		key, err := wire.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		keys[role] = key
		root.Roles[role] = wire.KeyRole{Threshold: 1, Keys: []wire.PublicKey{key.Public()}}
		files = append(files, file{filepath.Join(dir, string(role)+".key"), []byte(key.Secret() + "\n")})
	}
	payload, err := root.Encode()
	if err != nil {
		return err
	}
	envelope, err := wire.Seal(wire.TypeRoot, payload, keys[wire.RoleRoot])
	if err != nil {
		return err
	}
	if _, err := wire.NewTrust(envelope); err != nil {
		return err
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	return createFiles(append(files, file{filepath.Join(dir, "root.json"), append(envelope, '\n')})...)
}
