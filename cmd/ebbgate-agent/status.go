package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/wire"
)

const askTime = 10 * time.Second

// status prints what the running agent says of itself.
func status(ctx context.Context, args []string, stdout io.Writer) error {
	fs, config := flags("status")
	format := fs.String("o", "table", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if *format != "table" && *format != "json" {
		return fmt.Errorf("%w: -o %s: want table or json", errUsage, *format)
	}
	cfg, err := agent.ReadConfig(*config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s, err := agent.AskStatus(ctx, cfg.Socket())
	if err != nil {
		return err
	}
	if *format == "json" {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	return table(stdout, s)
}

func table(out io.Writer, s *agent.Status) error {
	r := s.Report
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "agent %s, region %s, fleet %s, order %d\n\n", r.Agent, r.Region, r.Fleet, r.Desired)
	fmt.Fprintln(w, "APP\tVERSION\tEPOCH\tSTATE\tNEXT\tLKG\tDATA PLANE\tNOTE")
	for _, app := range wire.Keys(r.Apps) {
		a := r.Apps[app]
		version, epoch, state, next, note := "-", "-", "-", "-", ""
		if p := a.Running; p != nil {
			version, epoch, state, note = string(p.Version), p.Epoch.String(), string(p.State), p.Error
		}
		if p := a.Next; p != nil {
			next = fmt.Sprintf("%s@%d %s", p.Version, p.Epoch, p.State)
			if note == "" {
				note = p.Error
			}
		}
		if note == "" {
			note = strings.Join(s.Plan[app], "; ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", app, version, epoch, state, next, a.LKG.Short(), a.Plane, note)
	}
	for _, reason := range wire.Keys(r.Refused) {
		fmt.Fprintf(w, "refused: %s\t%d\n", reason, r.Refused[reason])
	}
	if s.Behind > 0 {
		fmt.Fprintf(w, "behind: order %d exists and has not arrived\n", s.Behind)
	}
	return w.Flush()
}
