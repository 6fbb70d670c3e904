package admit

import (
	"errors"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

func TestKey(t *testing.T) {
	for key, want := range map[string]bool{
		"edge-proxy": true, "edge-proxy.eu-west.17": true,
		"": false, ".": false, "a.": false, "a..b": false, "a.*": false, ">": false, "a b": false, "A": false,
		strings.Repeat("a.", 127) + "a": true, strings.Repeat("a.", 128) + "a": false,
	} {
		if err := Key(key); (err == nil) != want {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestHolder(t *testing.T) {
	for holder, want := range map[string]bool{
		"ebb-1": true, "ebb-1 (pid 7)": true, "": false, "a\nb": false, "\xff": false, "\x00": false,
		strings.Repeat("a", MaxHolder): true, strings.Repeat("a", MaxHolder+1): false,
	} {
		if err := Holder(holder); (err == nil) != want {
			t.Errorf("holder %q: %v", holder, err)
		}
	}
}

func TestReport(t *testing.T) {
	if err := Report("eu-west", "node-1", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := Report("eu-west", "node-1", make([]byte, wire.MaxReport+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("a large report: %v", err)
	}
	for _, name := range []string{"", "a.b", "*"} {
		if Report(wire.Region(name), "node-1", []byte("x")) == nil || Report("eu-west", wire.AgentID(name), []byte("x")) == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}
