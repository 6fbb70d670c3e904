package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/ebbgate/ebbgate/controller"
)

// keptLines is how many of the newest decisions stand below the tree.
const keptLines = 4

// picture is the live view on a terminal.
type picture struct {
	look   look
	size   tea.WindowSizeMsg
	color  bool
	wide   bool
	ended  bool
	reason error // why it ended
}

// finished ends the picture.
type finished struct{ err error }

// Init implements [tea.Model].
func (p picture) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (p picture) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case look:
		p.look = msg
	case tea.WindowSizeMsg:
		p.size = msg
	case finished:
		p.ended, p.reason = true, msg.err
		return p, tea.Quit
	case tea.KeyPressMsg:
		switch msg.String() {
		case "ctrl+c":
			return p, tea.Interrupt
		case "q", "esc":
			return p, tea.Quit
		}
	}
	return p, nil
}

// View implements [tea.Model]. It never fills the last row: a terminal would scroll. At
// the end it is empty, and the whole tree is printed in its place.
func (p picture) View() tea.View {
	if p.ended {
		return tea.NewView("")
	}
	t := tree{width: p.size.Width, color: p.color, every: p.wide, doubt: p.look.view.Doubt, barriers: p.look.view.Barriers}
	below := p.below(t)
	if room := p.size.Height - 1; p.size.Height > 0 {
		below = below[max(0, len(below)-max(1, room/3)):]
		t.height = max(1, room-len(below))
	}
	text := t.render(p.look.view.Summary)
	if p.size.Height-1 > lipgloss.Height(text)+len(below) {
		text += "\n"
	}
	for _, l := range below {
		text += "\n" + t.cut(l)
	}
	v := tea.NewView(text)
	v.AltScreen = true // nothing of it stays in the scrollback
	return v
}

// below is the newest decisions and how to leave.
func (p picture) below(t tree) (lines []string) {
	all := decisions(p.look.view)
	for _, d := range all[max(0, len(all)-keptLines):] {
		lines = append(lines, t.paint(grey, d.At.UTC().Format("15:04:05"))+"  "+plain(d.Reason))
	}
	if p.look.err != nil {
		lines = append(lines, t.paint(yellow, oneLine(p.look.err.Error())+"; trying again"))
	} else {
		lines = append(lines, t.paint(grey, "q leaves; the rollout goes on"))
	}
	return lines
}

// picture shows the live view until the rollout ends, ctx ends or the operator leaves, which
// is errLookedAway.
func (w *watcher) picture(ctx context.Context, c *cli) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	profile := tea.WithColorProfile(colorprofile.ASCII)
	if c.color() {
		profile = tea.WithColorProfile(colorprofile.Detect(c.out, os.Environ()))
	}
	p := tea.NewProgram(picture{look: look{view: w.last}, color: c.color(), wide: c.output == "wide"},
		tea.WithInput(c.in), tea.WithOutput(c.out), tea.WithoutSignalHandler(), profile)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := w.follow(inner, func(l look) error {
			p.Send(l)
			return nil
		}, func(controller.Event) {})
		p.Send(finished{err})
	})
	m, err := p.Run()
	cancel()
	wg.Wait()
	switch {
	case errors.Is(err, tea.ErrInterrupted):
		return context.Canceled
	case err != nil:
		return err
	}
	end := m.(picture)
	fmt.Fprintln(c.out, tree{width: end.size.Width, color: end.color, every: end.wide, doubt: w.last.Doubt, barriers: w.last.Barriers}.render(w.last.Summary))
	if !end.ended && !w.last.Summary.Rollout.Status.Ended() {
		return errLookedAway
	}
	return end.reason
}
