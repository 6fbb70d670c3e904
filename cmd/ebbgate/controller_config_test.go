package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The longest origin fetch is read from controller.yaml, and refused below zero.
func TestOriginFetch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	load := func(text string) (*controllerConfig, error) {
		if err := os.WriteFile(path, []byte("regions: {ams: {}}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadControllerConfig(path)
	}
	if cfg, err := load("origin_fetch: 45s\n"); err != nil || time.Duration(cfg.OriginFetch) != 45*time.Second {
		t.Errorf("origin_fetch is %v, %v, want 45s", cfg, err)
	}
	if _, err := load("origin_fetch: -1s\n"); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("origin_fetch below zero: %v", err)
	}
}

func TestBlankFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	for text, want := range map[string]string{
		`listen: ""`:                      `listen: "" is not host:port`,
		`state: ""`:                       "state: is blank",
		`keys: ""`:                        "keys: is blank",
		`tokens: ""`:                      "tokens: is blank",
		`nats: {hub: ""}`:                 "nats.hub: is blank",
		`nats: {servers: [nats://a, ""]}`: "nats.servers[1]: is blank",
		`nats: {advertise: [""]}`:         "nats.advertise[0]: is blank",
		"state:\nkeys:\ntokens:\nnats:\n": "", // not there, so the default
	} {
		if err := os.WriteFile(path, []byte("regions: {ams: {}}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadControllerConfig(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
