package dataplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCommandIsKilledWithAllItStarted(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	begin := time.Now()
	_, err := command{
		argv:    []string{"/bin/sh", "-c", "sleep 60 & echo $! >" + pidfile + "; echo waiting; wait"},
		timeout: 300 * time.Millisecond,
	}.run(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "killed after 300ms") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	mustBeGone(t, pidfile)
}

func TestCommandLeavesNothingRunning(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	// The child keeps the pipe of the output open.
	out, err := command{
		argv:    []string{"/bin/sh", "-c", "sleep 60 & echo $! >" + pidfile + "; echo done"},
		timeout: 30 * time.Second,
	}.run(t.Context())
	if out != "done" || err == nil || !strings.Contains(err.Error(), "left processes behind") {
		t.Errorf("output %q, %v", out, err)
	}
	mustBeGone(t, pidfile)
}

// mustBeGone waits until the process is dead; nobody here may reap it.
func mustBeGone(t *testing.T, pidfile string) {
	t.Helper()
	data, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	stat := filepath.Join("/proc", strings.TrimSpace(string(data)), "stat")
	for end := time.Now().Add(5 * time.Second); ; {
		data, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(data), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still there: %s", data)
		}
	}
}

func TestCommandOutputIsBounded(t *testing.T) {
	out, err := command{argv: []string{"/bin/sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x"}, timeout: 30 * time.Second}.run(t.Context())
	if err != nil || len(out) != maxOutput {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{App: "shop", Region: "eu-west", Kind: KindNginx, Dir: "/s", Listen: "127.0.0.1:80", Start: true}
	for field, change := range map[string]func(*Config){
		"app":          func(c *Config) { c.App = "S" },
		"region":       func(c *Config) { c.Region = "" },
		"kind":         func(c *Config) { c.Kind = "apache" },
		"dir":          func(c *Config) { c.Dir = "state" },
		"listen":       func(c *Config) { c.Listen = "127.0.0.1:0" },
		"url":          func(c *Config) { c.URL = "localhost" },
		"confirm_url":  func(c *Config) { c.ConfirmURL = "ftp://x/" },
		"pidfile":      func(c *Config) { c.Start = false },
		"current":      func(c *Config) { c.Kind = KindFiles },
		"limits.bytes": func(c *Config) { c.Limits.Bytes = -1 },
		"hooks.x":      func(c *Config) { c.Hooks = map[string]Hook{"x": {Argv: []string{"sh"}}} },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), ": "+field+": ") {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
