package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/provider"
)

// Every field of a target is in the help: it is the only place where a user looks for it.
func TestHelpNamesEveryField(t *testing.T) {
	help := newProviderAgentCommand(&cli{}).Long
	words := strings.FieldsFunc(help, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r == '_') })
	for field := range reflect.TypeFor[provider.Target]().Fields() {
		if name := field.Tag.Get("yaml"); !slices.Contains(words, name) {
			t.Errorf("provider-agent --help says nothing of %s", name)
		}
	}
}

// Whoever waits too long for an agent, or breaks the wait off, is told so by the exit code.
func TestAskTimeout(t *testing.T) {
	dir, err := os.MkdirTemp("", "ask") // a short one: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "p.yaml")
	if err := os.WriteFile(path, []byte(`{id: cdn-1, region: cdn, state: ., root: r, key: k, nats: {servers: ["nats://127.0.0.1:4222"], creds: c},
targets: {waf: {kind: fastly-dictionary, token_file: t, service: S1, dictionary: D1}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := provider.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", cfg.Socket()) // nobody accepts, so nothing is answered
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	for _, test := range []struct {
		ctx  context.Context
		code int
		said string
	}{
		{t.Context(), exitTimeout, "ebbgate: cannot wait any longer than 20ms: the agent may still go on, see its status\n"},
		{interrupted, exitInterrupted, "ebbgate: interrupted\n"},
	} {
		var said strings.Builder
		c := &cli{err: &said}
		code := c.exit(ask(test.ctx, path, 20*time.Millisecond, func(ctx context.Context, socket string) error {
			return cannot(agent.AskRollback(ctx, socket, "waf"), "roll back waf")
		}))
		if code != test.code || said.String() != test.said {
			t.Errorf("exit code %d, said %q, want %d and %q", code, said.String(), test.code, test.said)
		}
	}
}
