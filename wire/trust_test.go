package wire

import (
	"errors"
	"testing"
	"time"
)

// nextRoot is version 8 of goodRoot with root keys 2, 3 and 8.
func nextRoot() *Root {
	r := goodRoot()
	r.Version = 8
	r.Roles[RoleRoot] = KeyRole{2, publics(2, 3, 8)}
	return r
}

func TestTrustUpdate(t *testing.T) {
	edit := func(f func(*Root)) *Root { r := nextRoot(); f(r); return r }
	for _, tt := range []struct {
		name string
		root *Root
		by   []byte
		want error
	}{
		{"by both thresholds", nextRoot(), []byte{2, 3}, nil},
		{"by two of each", nextRoot(), []byte{1, 2, 8}, nil},
		{"by the old keys only", nextRoot(), []byte{1, 2}, ErrSignature},
		{"by the new keys only", nextRoot(), []byte{3, 8}, ErrSignature},
		{"by authors", nextRoot(), []byte{4, 5}, ErrSignature},
		{"skipping a version", edit(func(r *Root) { r.Version = 9 }), []byte{2, 3}, ErrReplay},
		{"the same version", edit(func(r *Root) { r.Version = 7 }), []byte{2, 3}, ErrReplay},
		{"going back", edit(func(r *Root) { r.Version = 6 }), []byte{2, 3}, ErrReplay},
		{"another fleet", edit(func(r *Root) { r.Fleet = "test" }), []byte{2, 3}, ErrInvalid},
		{"expired", edit(func(r *Root) { r.Expires = noon.Add(-time.Second) }), []byte{2, 3}, ErrExpired},
		{"expiring now", edit(func(r *Root) { r.Expires = noon }), []byte{2, 3}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var keys []PrivateKey
			for _, n := range tt.by {
				keys = append(keys, testKey(n))
			}
			old := goodTrust(t)
			next, err := old.Update(sealed(t, TypeRoot, tt.root, keys...), noon)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && next.Root().Version != 8 || old.Root().Version != 7 {
				t.Errorf("version %d after %d", next.Root().Version, old.Root().Version)
			}
		})
	}
}

func TestNewTrust(t *testing.T) {
	if _, err := NewTrust(sealed(t, TypeRoot, goodRoot(), testKey(1))); !errors.Is(err, ErrSignature) {
		t.Errorf("signed by one of two: %v, want %v", err, ErrSignature)
	}
	if _, err := NewTrust(sealed(t, TypeBeacon, goodRoot(), testKey(1), testKey(2))); !errors.Is(err, ErrInvalid) {
		t.Errorf("another type: %v, want %v", err, ErrInvalid)
	}
	// Fail static: a node that starts after the root has expired goes on serving.
	r := goodRoot()
	r.Expires = noon.AddDate(-1, 0, 0)
	if _, err := NewTrust(sealed(t, TypeRoot, r, testKey(1), testKey(3))); err != nil {
		t.Errorf("expired: %v", err)
	}
}

func TestOpenManifest(t *testing.T) {
	open := func(m *Manifest, keys ...PrivateKey) error {
		t.Helper()
		payload, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		sigs, err := Sign(TypeManifest, payload, keys...)
		if err != nil {
			t.Fatal(err)
		}
		_, d, err := goodTrust(t).OpenManifest(payload, sigs)
		if err == nil && d != DigestOf(payload) {
			t.Errorf("digest %s", d)
		}
		return err
	}
	if err := open(goodManifest(), testKey(4), testKey(5)); err != nil {
		t.Errorf("both authors: %v", err)
	}
	if err := open(goodManifest(), testKey(4), testKey(6)); !errors.Is(err, ErrSignature) {
		t.Errorf("an author and the controller: %v, want %v", err, ErrSignature)
	}
	m := goodManifest()
	m.Fleet = "test"
	wantField(t, open(m, testKey(4), testKey(5)), "fleet")
	m.Fleet = ""
	wantField(t, open(m, testKey(4), testKey(5)), "")
	if _, _, err := goodTrust(t).OpenManifest([]byte("{}"), nil); !errors.Is(err, ErrSignature) {
		t.Errorf("unsigned: %v, want %v", err, ErrSignature)
	}
	if _, _, err := goodTrust(t).OpenManifest(make([]byte, MaxManifest+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v, want %v", err, ErrTooLarge)
	}
}

func TestOpenDesired(t *testing.T) {
	tr, good := goodTrust(t), sealed(t, TypeDesired, goodDesired(), testKey(6))
	if d, err := tr.OpenDesired(good, "eu-west"); err != nil || d.Sequence != 42 {
		t.Errorf("%v, %v", d, err)
	}
	_, err := tr.OpenDesired(good, "eu-east")
	wantField(t, err, "region")
	other := goodDesired()
	other.Fleet = "test"
	_, err = tr.OpenDesired(sealed(t, TypeDesired, other, testKey(6)), "eu-west")
	wantField(t, err, "fleet")
	if _, err := tr.OpenDesired(sealed(t, TypeDesired, goodDesired(), testKey(4), testKey(5)), "eu-west"); !errors.Is(err, ErrSignature) {
		t.Errorf("by authors: %v, want %v", err, ErrSignature)
	}
}

func TestOpenBeacon(t *testing.T) {
	tr := goodTrust(t)
	if b, err := tr.OpenBeacon(sealed(t, TypeBeacon, goodBeacon(), testKey(6))); err != nil || b.Root != 7 {
		t.Errorf("%v, %v", b, err)
	}
	other := goodBeacon()
	other.Fleet = "test"
	b, err := tr.OpenBeacon(sealed(t, TypeBeacon, other, testKey(6)))
	if wantField(t, err, "fleet"); b != nil {
		t.Error("returned what it refused")
	}
}

func TestOpenReport(t *testing.T) {
	tr, good := goodTrust(t), sealed(t, TypeReport, goodReport(), testKey(7))
	if r, err := tr.OpenReport(good, "node-a", testKey(7).Public()); err != nil || r.Sequence != 9 {
		t.Errorf("%v, %v", r, err)
	}
	r, err := tr.OpenReport(good, "node-b", testKey(7).Public())
	if wantField(t, err, "agent"); r != nil {
		t.Error("returned what it refused")
	}
	for name, k := range map[string]PublicKey{"another agent's key": testKey(8).Public(), "no key": {}} {
		if _, err := tr.OpenReport(good, "node-a", k); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want %v", name, err, ErrSignature)
		}
	}
}

func TestRootRefuses(t *testing.T) {
	for field, spoil := range map[string]func(*Root){
		"fleet":                      func(r *Root) { r.Fleet = "" },
		"version":                    func(r *Root) { r.Version = 0 },
		"expires":                    func(r *Root) { r.Expires = time.Time{} },
		"roles":                      func(r *Root) { r.Roles["admin"] = KeyRole{1, publics(1)} },
		"roles.author.threshold":     func(r *Root) { delete(r.Roles, RoleAuthor) },
		"roles.root.threshold":       func(r *Root) { r.Roles[RoleRoot] = KeyRole{3, publics(1, 2)} },
		"roles.controller.keys[0]":   func(r *Root) { r.Roles[RoleController] = KeyRole{1, make([]PublicKey, 1)} },
		"roles.root.keys[1]":         func(r *Root) { r.Roles[RoleRoot] = KeyRole{1, publics(1, 1)} },
		"roles.controller.threshold": func(r *Root) { r.Roles[RoleController] = KeyRole{0, publics(6)} },
	} {
		r := goodRoot()
		spoil(r)
		wantField(t, r.Validate(), field)
	}
}
