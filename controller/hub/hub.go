// Package hub is the NATS side of a controller: the keys and accounts that say who may
// say what, the server that `ebbgate` runs inside itself, and the configuration for
// servers of one's own.
//
// # Why two accounts
//
// The permissions of a user bound the subjects it names, not the reply subject it asks
// a service to use: an agent that asks the server to answer on eg.want.<region> would
// write desired state. So the streams live in account CTL, agents in account EDGE, and
// EDGE reaches CTL only through exports of single services (read one want, read one
// blob, store one report) and two announcements. An answer crosses the border back
// into EDGE, where no stream listens.
//
// # Why operator mode from the first start
//
// A server that begins with passwords keeps them. Here every user is a key of its own,
// signed by a key of its account whose template bounds it to its own subjects; the
// server needs no list of agents, and one agent can be revoked.
package hub

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
)

// Config says how to run the embedded server.
type Config struct {
	// Dir holds the keys, the lock and, by default, the streams. Required.
	Dir string
	// Host is where to listen. Default 127.0.0.1; anything but loopback requires TLS.
	Host string
	// Port to listen on. 0: a random free one.
	Port int
	// StoreDir holds the streams. Default: Dir/jetstream.
	StoreDir string
	// LazySync lets the server acknowledge before it has synced to disk: tests and demos
	// only, a power cut then loses acknowledged decisions.
	LazySync bool
	// TLS of the listener.
	TLS *tls.Config
	// Logger hears what the server says. Default: nobody.
	Logger *slog.Logger
}

func (c *Config) validate() error {
	if c.Dir == "" {
		return fmt.Errorf("dir: is missing")
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("port: %d is not a port", c.Port)
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if !loopback(c.Host) && c.TLS == nil {
		return fmt.Errorf("host: %s is not loopback, which requires TLS", c.Host)
	}
	if c.StoreDir == "" {
		c.StoreDir = filepath.Join(c.Dir, "jetstream")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
