package main

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A controller that never answers costs the shell a second.
func TestCompletionIsBounded(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cmd := new(cobra.Command)
	cmd.SetContext(t.Context())
	start := time.Now()
	found, directive := (&cli{server: "http://" + silent.Addr().String()}).candidates(cmd, "APP", nil)
	if took := time.Since(start); took > 10*completeTime {
		t.Errorf("took %s", took)
	}
	if !slices.Equal(found, nil) || directive != cobra.ShellCompDirectiveNoFileComp {
		t.Errorf("%q %d", found, directive)
	}
}
