package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/ebbgate/ebbgate/agent"
)

// run runs the agent until a signal ends it.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	fs, config := flags("run")
	verbose := fs.Bool("v", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	cfg, err := agent.ReadConfig(*config)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	cfg.Build = built()
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	return errors.Join(a.Run(ctx), a.Close())
}
