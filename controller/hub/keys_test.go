package hub

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/ebbgate/ebbgate/wire"
)

func TestKeysAreMadeOnceAndKeptSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := first.MintAgentCreds("node-1", "eu-west")
	if err != nil {
		t.Fatal(err)
	}
	key, err := PublicKey(creds)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Revoke(key); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if public(first.operator) != public(again.operator) || public(first.edgeSigner) != public(again.edgeSigner) {
		t.Error("opening the keys again made others")
	}
	if diff := cmp.Diff(first.revoked, again.revoked); diff != "" || len(again.revoked) != 1 {
		t.Errorf("revocations (-first +again):\n%s", diff)
	}
	if !again.edgeClaims().IsClaimRevoked(userOf(t, creds)) {
		t.Error("EDGE does not refuse a revoked agent")
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".new") {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func userOf(t *testing.T, creds []byte) *jwt.UserClaims {
	t.Helper()
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		t.Fatal(err)
	}
	u, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A damaged file is refused without showing what is in it, and never replaced.
func TestDamagedKeys(t *testing.T) {
	dir := t.TempDir()
	k, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, keysName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := k.control.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]string{
		"empty":      "",
		"torn":       string(whole[:len(whole)/2]),
		"other kind": strings.ReplaceAll(string(whole), `"operator": "SO`, `"operator": "SA`),
		"truncated":  strings.ReplaceAll(string(whole), string(seed), string(seed[:40])),
	} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeys(dir)
		if err == nil || strings.Contains(err.Error(), string(seed[:40])) {
			t.Errorf("%s: error %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != damaged {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	k, err := OpenKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "*", ">", "a.b", "{{name()}}", "UPPER"} {
		if _, err := k.MintAgentCreds(wire.AgentID(name), "eu"); err == nil {
			t.Errorf("credentials for the agent %q", name)
		}
		if _, err := k.MintAgentCreds("node-1", wire.Region(name)); err == nil {
			t.Errorf("credentials for the region %q", name)
		}
		if _, err := k.MintControllerCreds(name); err == nil {
			t.Errorf("credentials for the controller %q", name)
		}
		if err := k.Revoke(name); err == nil {
			t.Errorf("%q was revoked", name)
		}
	}
}

func FuzzPublicKey(f *testing.F) {
	k, err := OpenKeys(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	creds, err := k.MintAgentCreds("node-1", "eu")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(creds)
	f.Add([]byte("-----BEGIN NATS USER JWT-----\n"))
	f.Fuzz(func(t *testing.T, creds []byte) {
		if key, err := PublicKey(creds); err == nil && key == "" {
			t.Error("no key and no error")
		}
	})
}
