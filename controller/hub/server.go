package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTime = 20 * time.Second
	closeTime = 15 * time.Second
)

// Server is an embedded NATS server, for up to about 5,000 agents.
type Server struct {
	keys     *Keys
	ns       *server.Server
	resolver *server.MemAccResolver
	lock     *os.File
	once     sync.Once
	closeErr error
}

// Start runs a server and returns when clients can connect.
func Start(cfg Config) (*Server, error) {
	s, err := start(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot start NATS server: %w", err)
	}
	return s, nil
}

func start(cfg Config) (_ *Server, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	keys, err := OpenKeys(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, err
	}
	if err := probeSync(cfg.StoreDir, cfg.Logger, slowSync); err != nil {
		return nil, err
	}
	opts, resolver, err := options(cfg, keys)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	s := &Server{keys: keys, ns: ns, resolver: resolver, lock: lock}
	log := &logger{cfg.Logger, make(chan string, 1)}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := ready(ns, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ready waits until clients can connect.
func ready(ns *server.Server, log *logger) error {
	for deadline := time.Now().Add(startTime); !ns.ReadyForConnections(50 * time.Millisecond); {
		select {
		case reason := <-log.fatal:
			return errors.New(reason)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v", startTime)
		}
	}
	return nil
}

func options(cfg Config, keys *Keys) (*server.Options, *server.MemAccResolver, error) {
	c, err := keys.claims()
	if err != nil {
		return nil, nil, err
	}
	resolver := &server.MemAccResolver{}
	for _, a := range c.accounts {
		if err := resolver.Store(a.key, a.token); err != nil {
			return nil, nil, err
		}
	}
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts := &server.Options{
		ServerName: "ebbgate",
		Host:       cfg.Host,
		Port:       port,
		NoSigs:     true,
		TLSConfig:  cfg.TLS,

		JetStream:              true,
		StoreDir:               cfg.StoreDir,
		SyncAlways:             !cfg.LazySync,
		DisableJetStreamBanner: true,

		SystemAccount:   public(keys.system),
		AccountResolver: resolver,
	}
	opts.TrustedOperators = append(opts.TrustedOperators, c.operator)
	return opts, resolver, nil
}

// lockDir keeps a second server off the same streams for as long as the file is open.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another process", dir)
	}
	return f, nil
}

// ClientURL is where clients connect.
func (s *Server) ClientURL() string { return s.ns.ClientURL() }

// Keys are the keys the server trusts.
func (s *Server) Keys() *Keys { return s.keys }

// Revoke revokes a user durably and disconnects it.
func (s *Server) Revoke(publicKey string) error {
	if err := s.keys.Revoke(publicKey); err != nil {
		return err
	}
	c, err := s.keys.claims()
	if err != nil {
		return fmt.Errorf("cannot revoke %s: %w", publicKey, err)
	}
	for _, a := range c.accounts {
		if err := s.update(a); err != nil {
			return fmt.Errorf("cannot revoke %s: %w", publicKey, err)
		}
	}
	return nil
}

// update replaces the claims of an account.
func (s *Server) update(a account) error {
	if err := s.resolver.Store(a.key, a.token); err != nil {
		return err
	}
	running, err := s.ns.LookupAccount(a.key)
	if err != nil {
		return err
	}
	decoded, err := jwt.DecodeAccountClaims(a.token)
	if err != nil {
		return err
	}
	s.ns.UpdateAccountClaims(running, decoded)
	return nil
}

// Close stops the server within 15 s. It is idempotent.
func (s *Server) Close() error {
	s.once.Do(func() {
		done := make(chan struct{})
		go func() {
			s.ns.Shutdown()
			s.ns.WaitForShutdown()
			close(done)
		}()
		select {
		case <-done:
			s.closeErr = s.lock.Close()
		case <-time.After(closeTime):
			// The lock stays: the server may still write.
			s.closeErr = fmt.Errorf("cannot stop NATS server: still running after %v", closeTime)
		}
	})
	return s.closeErr
}
