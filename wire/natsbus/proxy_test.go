package natsbus_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// proxy stands between a client and a server and can lose an answer with its connection.
type proxy struct {
	url     string
	swallow atomic.Bool // the next acknowledgement of EG_CTL is lost
	lost    atomic.Int32
}

func startProxy(t *testing.T, serverURL string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{url: "nats://" + l.Addr().String()}
	var wait sync.WaitGroup
	t.Cleanup(func() { l.Close(); wait.Wait() })
	wait.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(serverURL, "nats://"))
			if err != nil {
				client.Close()
				continue
			}
			wait.Go(func() { p.copy(server, client, false) })
			wait.Go(func() { p.copy(client, server, true) })
		}
	})
	return p
}

// copy passes bytes on until either side closes, which closes both.
func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if answers && bytes.Contains(buffer[:n], []byte(`"stream":"EG_CTL"`)) && p.swallow.CompareAndSwap(true, false) {
			p.lost.Add(1)
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// The answer to a write may be lost after the write was stored. It is tried again, and
// counts once.
func TestLostAnswers(t *testing.T) {
	e := start(t)
	p := startProxy(t, e.url)
	c := controller(t, e.s.Keys(), "leader", p.url)
	must(t, c.Setup(t.Context(), 1))
	losing := func(write func() error) {
		t.Helper()
		before := p.lost.Load()
		p.swallow.Store(true)
		must(t, write())
		if p.lost.Load() != before+1 {
			t.Error("no answer was lost")
		}
	}
	var f wire.Fence
	losing(func() (err error) {
		f, err = c.TakeLease(t.Context(), "leader", 0)
		return err
	})
	if holder, now, err := c.Lease(t.Context()); err != nil || holder != "leader" || now != f || f == 0 {
		t.Errorf("took fence %d, the lease is %q, %d, %v", f, holder, now, err)
	}
	losing(func() error { return c.PutWant(t.Context(), f, "eu-west", []byte("want")) })
	losing(func() error { return c.PutJournal(t.Context(), f, "app", []byte("record")) })
	losing(func() error { return c.DeleteJournal(t.Context(), f, "app") })
	if got, err := c.Want(t.Context(), "eu-west"); err != nil || string(got) != "want" {
		t.Errorf("want is %q, %v", got, err)
	}
	// Losing the lease and the answer at once is still losing the lease.
	other := controller(t, e.s.Keys(), "other", e.url)
	if _, err := other.TakeLease(t.Context(), "other", f); err != nil {
		t.Fatal(err)
	}
	p.swallow.Store(true)
	if err := c.PutWant(t.Context(), f, "eu-west", []byte("stale")); !errors.Is(err, wire.ErrFenced) {
		t.Errorf("stale write: %v", err)
	}
	p.swallow.Store(true)
	if _, err := c.TakeLease(t.Context(), "leader", f); !errors.Is(err, wire.ErrNoLease) {
		t.Errorf("taking a lease that has moved on: %v", err)
	}
}
