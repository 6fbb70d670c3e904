// Package servertest has what tests on servers need: the servers, addresses for them, and
// their logs.
package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/ebbgate/ebbgate/internal/ports"
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

// FreeAddress returns a loopback address, host:port, for a server of this test alone.
func FreeAddress(t testing.TB) string {
	t.Helper()
	taken, release, err := ports.Take(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", taken[0])
}
