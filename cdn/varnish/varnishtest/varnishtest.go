// Package varnishtest runs a real varnishd with the shipped VCL, for tests.
package varnishtest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/servertest"
)

// Config of an instance.
type Config struct {
	Address string // host:port to listen on; default: a free port on loopback
	Token   string // what a purge has to present; required
	Memory  string // of the cache; default 16m
	Dir     string // of varnishd's own files, for varnishlog -n; default one that ends with the test
	VCL     string // what follows the shipped VCL: backends, and subroutines of one's own; required
}

// startTime bounds the start: varnishd runs a C compiler first.
const startTime = 30 * time.Second

// Start runs varnishd until the test ends and returns its base URL. Without varnishd the
// test is skipped, or fails if EBBGATE_REQUIRE_SERVERS=1.
func Start(t testing.TB, c Config) string {
	t.Helper()
	binary := servertest.Find(t, "varnishd")
	if c.Address == "" {
		c.Address = servertest.FreeAddress(t)
	}
	if c.Memory == "" {
		c.Memory = "16m"
	}
	dir := t.TempDir()
	main := write(t, dir, c)
	if c.Dir == "" {
		c.Dir = filepath.Join(dir, "work")
	}
	var log bytes.Buffer
	cmd := exec.Command(binary, "-F", "-j", "none", "-n", c.Dir, "-a", c.Address,
		"-T", "none", "-f", main, "-s", "malloc,"+c.Memory, "-p", "ban_lurker_sleep=0.01",
		"-p", "thread_pool_min=5", "-p", "thread_pools=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("varnishd: %s", log.String())
		}
	})
	deadline := time.After(startTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", c.Address); err == nil {
			conn.Close()
			return "http://" + c.Address
		}
		select {
		case <-exited:
			t.Fatalf("varnishd ended: %s", log.String())
		case <-deadline:
			t.Fatalf("varnishd does not listen after %s", startTime)
		case <-tick.C:
		}
	}
}

// write lays out the VCL and returns the path of the main file.
func write(t testing.TB, dir string, c Config) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	shipped, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../deploy/varnish/ebbgate.vcl"))
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "ebbgate.token")
	main := filepath.Join(dir, "main.vcl")
	for path, text := range map[string]string{
		token:                             c.Token + "\n",
		filepath.Join(dir, "ebbgate.vcl"): strings.ReplaceAll(string(shipped), "/etc/varnish/ebbgate.token", token),
		main:                              "vcl 4.1;\ninclude \"" + dir + "/ebbgate.vcl\";\n" + c.VCL,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return main
}
