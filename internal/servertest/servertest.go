// Package servertest has what tests on servers need: the servers, addresses for them, and
// their logs.
package servertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"testing"
)

// Find returns the path of a server's program, also where the PATH of an ordinary user does
// not lead. Without it the test is skipped, or fails if EBBGATE_REQUIRE_SERVERS is 1.
func Find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil && os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// FreeAddress returns a loopback address, host:port, that nothing listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		// Below what the kernel gives to clients: nobody takes it before the server does.
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
