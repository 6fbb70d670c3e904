package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/wire"
)

// rollbackTime bounds a rollback: a data plane may have to load the old release again.
const rollbackTime = 5 * time.Minute

// rollback makes the running agent go back to the release before.
func rollback(ctx context.Context, args []string, stderr io.Writer) error {
	fs, config := flags("rollback")
	if err := parse(fs, args, 1); err != nil {
		return err
	}
	app := wire.App(fs.Arg(0))
	if err := wire.CheckToken(string(app)); err != nil {
		return fmt.Errorf("%w: app %w", errUsage, err)
	}
	cfg, err := agent.ReadConfig(*config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rollbackTime)
	defer cancel()
	if err := agent.AskRollback(ctx, cfg.Socket(), app); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s went back; it stays there until a newer epoch is ordered\n", app)
	return nil
}
