package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nkeys"
)

// Keys are the keys of a fleet's NATS: the operator that servers trust, its accounts,
// and per account the signing key that makes users. Whoever holds them can become any
// agent on the bus, though not sign an order.
type Keys struct {
	dir string

	operator, system, control, edge nkeys.KeyPair
	controlSigner, edgeSigner       nkeys.KeyPair

	mu      sync.Mutex           // guards revoked and the writing of its file
	revoked map[string]time.Time // user public key → when it was revoked
}

// keyFile is keys.json: the seeds, each as nkeys writes it.
type keyFile struct {
	Operator      string `json:"operator"`
	System        string `json:"system"`
	Control       string `json:"control"`
	ControlSigner string `json:"controlSigner"`
	Edge          string `json:"edge"`
	EdgeSigner    string `json:"edgeSigner"`
}

const (
	keysName    = "keys.json"
	revokedName = "revoked.json"
)

// OpenKeys reads the keys kept in dir, and makes them at the first call. All of them
// are in one file, so that a power cut leaves all or none.
func OpenKeys(dir string) (*Keys, error) {
	k, err := openKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open NATS keys: %w", err)
	}
	return k, nil
}

func openKeys(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, keysName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newKeyFile(); err != nil {
			return nil, err
		}
		err = writeSynced(path, data)
	}
	if err != nil {
		return nil, err
	}
	k := &Keys{dir: dir, revoked: map[string]time.Time{}}
	if err := k.parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, revokedName)
	switch data, err = os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(data, &k.revoked); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func newKeyFile() ([]byte, error) {
	var file keyFile
	for _, of := range []struct {
		seed *string
		make func() (nkeys.KeyPair, error)
	}{
		{&file.Operator, nkeys.CreateOperator},
		{&file.System, nkeys.CreateAccount},
		{&file.Control, nkeys.CreateAccount},
		{&file.ControlSigner, nkeys.CreateAccount},
		{&file.Edge, nkeys.CreateAccount},
		{&file.EdgeSigner, nkeys.CreateAccount},
	} {
		pair, err := of.make()
		if err != nil {
			return nil, err
		}
		seed, err := pair.Seed()
		if err != nil {
			return nil, err
		}
		*of.seed = string(seed)
	}
	return json.MarshalIndent(file, "", "  ")
}

func (k *Keys) parse(data []byte) error {
	var file keyFile
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for _, of := range []struct {
		name, seed string
		kind       nkeys.PrefixByte
		pair       *nkeys.KeyPair
	}{
		{"operator", file.Operator, nkeys.PrefixByteOperator, &k.operator},
		{"system", file.System, nkeys.PrefixByteAccount, &k.system},
		{"control", file.Control, nkeys.PrefixByteAccount, &k.control},
		{"controlSigner", file.ControlSigner, nkeys.PrefixByteAccount, &k.controlSigner},
		{"edge", file.Edge, nkeys.PrefixByteAccount, &k.edge},
		{"edgeSigner", file.EdgeSigner, nkeys.PrefixByteAccount, &k.edgeSigner},
	} {
		kind, _, err := nkeys.DecodeSeed([]byte(of.seed))
		if err != nil || kind != of.kind {
			return fmt.Errorf("%s: is not a seed of its kind", of.name) // the seed itself is a secret
		}
		if *of.pair, err = nkeys.FromSeed([]byte(of.seed)); err != nil {
			return fmt.Errorf("%s: %w", of.name, err)
		}
	}
	return nil
}

// public returns the public key of a pair that was made from a seed, which cannot fail.
func public(pair nkeys.KeyPair) string {
	key, err := pair.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("hub: key pair without public key: %v", err))
	}
	return key
}
