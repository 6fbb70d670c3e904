package natsbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/controller/hub/hubtest"
	"github.com/ebbgate/ebbgate/wire"
)

// reportUntil reports until the report is stored: an agent that is cut off says so at
// once, and its shell tries again.
func reportUntil(ctx context.Context, a wire.AgentBus, r wire.Region, id wire.AgentID, envelope []byte) error {
	for {
		err := a.Report(ctx, r, id, envelope)
		if !errors.Is(err, wire.ErrDisconnected) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Writes go on while one server of three is killed and while it comes back, and what
// was acknowledged is there afterwards.
func TestClusterLosesOneServer(t *testing.T) {
	cluster := hubtest.StartCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := controller(t, cluster.Keys, "leader", cluster.URLs...)
	if err := c.Setup(ctx, 3); err != nil {
		t.Fatal(err)
	}
	f, err := c.TakeLease(ctx, "leader", 0)
	if err != nil {
		t.Fatal(err)
	}
	// A replicated stream refuses two fenced writes at the same time; the bus does not.
	var crowd sync.WaitGroup
	for i := range 64 {
		crowd.Go(func() {
			if err := c.PutWant(ctx, f, wire.Region(fmt.Sprintf("region-%d", i)), []byte("want")); err != nil {
				t.Error(err)
			}
			data := fmt.Appendf(nil, "blob %d", i/4) // four at a time store the same
			if err := c.PutBlob(ctx, wire.DigestOf(data), data); err != nil {
				t.Error(err)
			}
		})
	}
	crowd.Wait()

	const region = wire.Region("eu-west")
	agents := map[wire.AgentID]wire.AgentBus{}
	for i, url := range cluster.URLs { // one agent at home on each server
		id := wire.AgentID(fmt.Sprintf("node-%d", i))
		agents[id] = agent(t, cluster.Keys, region, id, append([]string{url}, cluster.URLs...)...)
	}
	heard := map[wire.AgentID]chan string{}
	for id, a := range agents {
		orders := make(chan string, 1024)
		heard[id] = orders
		stop, err := a.Notes(region, func(b []byte) { orders <- string(b) })
		must(t, err)
		defer stop()
	}
	seen := make(chan map[wire.AgentID]string, 1)
	seen <- map[wire.AgentID]string{}
	var wait sync.WaitGroup
	readCtx, stopReading := context.WithCancel(ctx)
	wait.Go(func() {
		_ = c.Reports(readCtx, func(_ wire.Region, a wire.AgentID, envelope []byte, _ time.Time) {
			m := <-seen
			m[a] = string(envelope)
			seen <- m
		})
	})
	defer func() { stopReading(); wait.Wait() }()

	var slowest time.Duration
	blobs := map[wire.Digest][]byte{}
	round := 0
	writes := func(rounds int) {
		t.Helper()
		for range rounds {
			round++
			begun := time.Now()
			data := bytes.Repeat(fmt.Appendf(nil, "%8d", round), 8<<10)
			d := wire.DigestOf(data)
			if err := c.PutBlob(ctx, d, data); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			blobs[d] = data
			want := fmt.Appendf(nil, "want %d", round)
			if err := c.PutWant(ctx, f, region, want); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if err := c.PutJournal(ctx, f, "app", want); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if got, err := c.Want(ctx, region); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("round %d: the leader reads %q, %v after it wrote %q", round, got, err, want)
			}
			for _, id := range wire.Keys(agents) {
				if err := reportUntil(ctx, agents[id], region, id, fmt.Appendf(nil, "report %d", round)); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			slowest = max(slowest, time.Since(begun))
		}
	}
	writes(20)
	for i := range cluster.URLs {
		cluster.Stop(i)
		writes(20)
		cluster.Start(i)
		writes(20)
		// A server that is back has to catch up before the next may go.
		if err := c.Setup(ctx, 3); err != nil {
			t.Fatal(err)
		}
		awaitReplicas(t, cluster)
	}
	t.Logf("%d rounds, the slowest took %v", round, slowest)

	for d, data := range blobs {
		got, err := c.Blob(ctx, d)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("acknowledged blob: %d bytes, %v", len(got), err)
		}
	}
	last := fmt.Sprintf("report %d", round)
	until(t, func() error {
		m := <-seen
		defer func() { seen <- m }()
		for id := range agents {
			if m[id] != last {
				return fmt.Errorf("the last report of %s is %q, want %q", id, m[id], last)
			}
		}
		return nil
	})
	// Orders still reach agents on every server.
	if err := c.PutWant(ctx, f, region, []byte("last")); err != nil {
		t.Fatal(err)
	}
	for id := range agents {
		for got := ""; got != "last"; {
			select {
			case got = <-heard[id]:
			case <-ctx.Done():
				t.Fatalf("%s did not hear of the last order", id)
			}
		}
	}
	standby := controller(t, cluster.Keys, "standby", cluster.URLs...)
	if _, err := standby.TakeLease(ctx, "standby", f); err != nil {
		t.Fatal(err)
	}
	if err := c.PutWant(ctx, f, region, []byte("stale")); !errors.Is(err, wire.ErrFenced) {
		t.Errorf("a stale leader's write: %v, want %v", err, wire.ErrFenced)
	}
}

// A revocation reaches a cluster when it loads the accounts rendered next.
func TestClusterRevocation(t *testing.T) {
	cluster := hubtest.StartCluster(t)
	creds, err := cluster.Keys.MintAgentCreds("evil", "eu-west")
	must(t, err)
	key, err := hub.PublicKey(creds)
	must(t, err)
	evil, _ := raw(t, "evil", creds, cluster.URLs[1])
	spared, err := cluster.Keys.MintAgentCreds("node-1", "eu-west")
	must(t, err)
	good, _ := raw(t, "node-1", spared, cluster.URLs[1])
	must(t, cluster.Keys.Revoke(key))
	for begun := time.Now().Unix(); time.Now().Unix() == begun; { // what is rendered in another second differs in all that says when
		time.Sleep(10 * time.Millisecond)
	}
	cluster.Reload()
	until(t, func() error {
		if !evil.IsClosed() {
			return errors.New("a revoked agent is still connected")
		}
		return nil
	})
	for _, url := range cluster.URLs {
		until(t, func() error {
			nc, err := nats.Connect(url, nats.UserCredentialBytes(creds))
			if err == nil {
				nc.Close()
				return fmt.Errorf("a revoked agent connects to %s", url)
			}
			return nil
		})
	}
	if !good.IsConnected() {
		t.Error("the reload disconnected an agent in good standing")
	}
}
