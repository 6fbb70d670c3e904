package hub

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

func TestStartRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no directory":     {},
		"all interfaces":   {Dir: t.TempDir(), Host: "0.0.0.0"},
		"public address":   {Dir: t.TempDir(), Host: "192.0.2.1"},
		"unknown name":     {Dir: t.TempDir(), Host: "hub.example.net"},
		"impossible port":  {Dir: t.TempDir(), Port: 70000},
		"unusable keys at": {Dir: "/dev/null"},
	} {
		s, err := Start(cfg)
		if err == nil {
			s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line", name, err)
		}
	}
}

func TestOneServerPerDirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := Start(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Start(Config{Dir: dir}); err == nil {
		second.Close()
		t.Error("a second server runs on the same directory")
	}
	if !strings.HasPrefix(first.ClientURL(), "nats://127.0.0.1:") {
		t.Errorf("clients connect to %s", first.ClientURL())
	}
	begun := time.Now()
	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(begun); took > closeTime {
		t.Errorf("close took %v", took)
	}
	third, err := Start(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

func TestTakenPort(t *testing.T) {
	first, err := Start(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, err := Start(Config{Dir: t.TempDir(), Port: first.ns.Addr().(*net.TCPAddr).Port}); err == nil {
		second.Close()
		t.Error("two servers listen on one port")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func TestSlowSyncIsWarnedOf(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, test := range []struct {
		slow time.Duration
		want bool
	}{{0, true}, {time.Hour, false}} {
		out.Reset()
		if err := probeSync(t.TempDir(), log, test.slow); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(out.String(), "fsync is slow"); warned != test.want {
			t.Errorf("limit %v: warned %v, want %v", test.slow, warned, test.want)
		}
	}
}
