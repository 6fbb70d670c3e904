package lab

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// WaitLive waits until exactly n agents are live.
func (l *Lab) WaitLive(ctx context.Context, n int) error {
	return l.until(ctx, fmt.Sprintf("%d live agents", n), func() (bool, error) {
		for _, node := range l.Nodes {
			if p := l.agents[node.ID]; p != nil && p.exited() {
				return false, fmt.Errorf("agent %s has ended: %s", node.ID, p.lastLine())
			}
		}
		agents, err := l.Agents(ctx)
		live := 0
		for _, a := range agents {
			if a.Live {
				live++
			}
		}
		return err == nil && live == n, nil
	})
}

// Agents returns what the controller knows of the agents.
func (l *Lab) Agents(ctx context.Context) (agents []controller.AgentView, err error) {
	return agents, l.query(ctx, &agents, "agent", "ls")
}

// App returns the state of an app.
func (l *Lab) App(ctx context.Context, app wire.App) (v controller.AppView, err error) {
	return v, l.query(ctx, &v, "rollout", "get", string(app))
}

// History returns the rollouts of an app, newest first.
func (l *Lab) History(ctx context.Context, app wire.App) (past []rollout.Rollout, err error) {
	return past, l.query(ctx, &past, "rollout", "history", string(app))
}

// WaitApp waits until the state of an app is as wanted.
func (l *Lab) WaitApp(ctx context.Context, app wire.App, what string, done func(controller.AppView) bool) (v controller.AppView, err error) {
	err = l.until(ctx, what, func() (bool, error) {
		v, err = l.App(ctx, app)
		return err == nil && done(v), nil
	})
	return v, err
}

func (l *Lab) query(ctx context.Context, v any, args ...string) error {
	out, err := l.Run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), v)
}
