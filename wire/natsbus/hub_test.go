package natsbus_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/bustest"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

const devWait = 20 * time.Millisecond

// embedded is a server that can be stopped and started again.
type embedded struct {
	cfg hub.Config
	s   *hub.Server
	url string
}

func start(t *testing.T) *embedded {
	t.Helper()
	e := &embedded{cfg: hub.Config{Dir: t.TempDir()}}
	e.Up(t)
	t.Cleanup(func() { e.Down(t) })
	return e
}

func (e *embedded) Up(t *testing.T) {
	t.Helper()
	s, err := hub.Start(e.cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.s, e.url = s, s.ClientURL()
	u, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	if e.cfg.Port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
}

func (e *embedded) Down(t *testing.T) {
	t.Helper()
	if err := e.s.Close(); err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T, name string, creds []byte, servers ...string) natsbus.Config {
	return natsbus.Config{Servers: servers, Creds: creds, Name: name, ReconnectWait: devWait, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func agent(t *testing.T, k *hub.Keys, r wire.Region, a wire.AgentID, servers ...string) wire.AgentBus {
	t.Helper()
	creds, err := k.MintAgentCreds(a, r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := natsbus.ConnectAgent(t.Context(), config(t, string(a), creds, servers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func controller(t *testing.T, k *hub.Keys, name string, servers ...string) wire.ControllerBus {
	t.Helper()
	creds, err := k.MintControllerCreds(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := natsbus.ConnectController(t.Context(), config(t, name, creds, servers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestConformance(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Fixture {
		e := start(t)
		return bustest.Fixture{
			Agent: func(t *testing.T, r wire.Region, a wire.AgentID) wire.AgentBus {
				return agent(t, e.s.Keys(), r, a, e.url)
			},
			Controller: func(t *testing.T, name string) wire.ControllerBus {
				return controller(t, e.s.Keys(), name, e.url)
			},
			Down: e.Down, Up: e.Up,
		}
	})
}

// until repeats check until it returns nil.
func until(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A store of content that was emptied takes the same content again: it is how an operator
// makes room.
func TestContentIsEmptied(t *testing.T) {
	e := start(t)
	b := controller(t, e.s.Keys(), "c1", e.url)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Setup(t.Context(), 1))
	blob := []byte("content")
	d := wire.DigestOf(blob)
	creds, err := e.s.Keys().MintControllerCreds("op")
	must(err)
	nc, _ := raw(t, "op", creds, e.url)
	js, err := jetstream.New(nc)
	must(err)
	for range 2 {
		if has, err := b.HasBlob(t.Context(), d); err != nil || has {
			t.Fatalf("an empty store has the blob: %t, %v", has, err)
		}
		must(b.PutBlob(t.Context(), d, blob))
		if got, err := b.Blob(t.Context(), d); err != nil || !bytes.Equal(got, blob) {
			t.Fatalf("stored is %q, %v", got, err)
		}
		s, err := js.Stream(t.Context(), wire.StreamBlob)
		must(err)
		must(s.Purge(t.Context()))
	}
}
