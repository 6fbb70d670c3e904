// Package natsbus is the bus of a fleet on NATS. It is the only package that imports
// the NATS client.
//
// # Why agents speak raw requests
//
// An agent may publish its own report, ask for its own region's orders and for blobs,
// and listen to what is announced; nothing else. The convenient calls of a JetStream
// client first ask for the stream's description, which would have to be allowed too,
// and a consumer per agent costs the server ten times what a subscription costs. So an
// agent subscribes to plain subjects, repairs gaps with a direct get whose subject is
// part of the request subject, and the server can check every right from the subject
// alone.
//
// # Why the controller's writes are fenced one by one
//
// A write names the sequence of the lease it was decided under; the server refuses it
// once the lease has moved. A replicated stream refuses two such writes at the same
// time, so a bus sends them one after the other.
//
// # Bounds
//
// A read or a report is tried again for at most 10 s, a write of the controller for at
// most 20 s, one attempt of an agent takes at most 4 s, of a controller 2 s; the caller's context may cut all of them
// short. What arrives is measured against the limits of package wire before anything
// looks into it.
package natsbus

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Config says how to reach the servers.
type Config struct {
	// Servers are URLs, "nats://host:4222" or "tls://host:4222". Required; a client
	// finds the rest of a cluster by itself.
	Servers []string
	// CredsFile is the path of a credentials file; Creds are its bytes. Required: one.
	CredsFile string
	Creds     []byte
	// Name is the agent's ID or the controller's name. Required, a token: the inbox
	// that the server lets an agent listen to bears it.
	Name string
	// RootCA is the path of the certificates that sign the servers'. Default: the system's.
	RootCA string
	// ReconnectWait is the least time between two rounds through the servers; up to five
	// times as much is added at random, so that a fleet does not return as one. Default 5 s.
	ReconnectWait time.Duration
	// Logger hears of lost connections and refused messages. Default: nobody.
	Logger *slog.Logger
}

// AgentConfig is the Config of an agent, whose connection may come about later.
type AgentConfig = Config

// ControllerConfig is the Config of a controller.
type ControllerConfig = Config

const defaultReconnectWait = 5 * time.Second

func (c *Config) validate() error {
	switch {
	case len(c.Servers) == 0:
		return fmt.Errorf("servers: is empty")
	case (c.CredsFile == "") == (len(c.Creds) == 0):
		return fmt.Errorf("creds: want either a credentials file or its bytes")
	case c.ReconnectWait < 0:
		return fmt.Errorf("reconnect wait: %v is negative", c.ReconnectWait)
	}
	if err := wire.CheckToken(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	for _, file := range []string{c.CredsFile, c.RootCA} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return err // the client would try for ever
		}
	}
	if c.ReconnectWait == 0 {
		c.ReconnectWait = defaultReconnectWait
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
