package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// The directory that is written to need not be there.
func TestOutIsMade(t *testing.T) {
	out := filepath.Join(t.TempDir(), "new", "out")
	flag.CommandLine = flag.NewFlagSet("render", flag.ContinueOnError)
	os.Args = []string{"render", "-keys", t.TempDir(), "-out", out, "-hosts", "127.0.0.1", "-controller", "ebb-1"}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n1.conf", "accounts.conf", "ebb-1.creds"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
}
