package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/ebbgate/ebbgate/wire"
)

// MintAgentCreds returns a credentials file with a new key for an agent, bounded to
// that agent's subjects. The key is not kept.
func (k *Keys) MintAgentCreds(id wire.AgentID, region wire.Region) ([]byte, error) {
	if err := wire.CheckToken(string(id)); err != nil {
		return nil, fmt.Errorf("cannot mint credentials: agent %w", err)
	}
	if err := wire.CheckToken(string(region)); err != nil {
		return nil, fmt.Errorf("cannot mint credentials of %s: region %w", id, err)
	}
	return mint(string(id), k.edge, k.edgeSigner, "region:"+string(region))
}

// MintControllerCreds returns a credentials file with a new key for a controller, which
// may do everything in its account.
func (k *Keys) MintControllerCreds(name string) ([]byte, error) {
	if err := wire.CheckToken(name); err != nil {
		return nil, fmt.Errorf("cannot mint credentials: controller %w", err)
	}
	return mint(name, k.control, k.controlSigner)
}

// mint makes a user of account whose rights are the template of signer.
func mint(name string, account, signer nkeys.KeyPair, tags ...string) ([]byte, error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("cannot mint credentials of %s: %w", name, err)
	}
	defer user.Wipe()
	u := jwt.NewUserClaims(public(user))
	u.Name = name
	u.IssuerAccount = public(account)
	u.Tags.Add(tags...)
	u.SetScoped(true)
	token, err := u.Encode(signer)
	if err != nil {
		return nil, fmt.Errorf("cannot mint credentials of %s: %w", name, err)
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, fmt.Errorf("cannot mint credentials of %s: %w", name, err)
	}
	return jwt.FormatUserConfig(token, seed)
}

// PublicKey returns the public key of a credentials file: what [Keys.Revoke] takes, and
// what to keep of a file that was handed out.
func PublicKey(creds []byte) (string, error) {
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return "", fmt.Errorf("cannot read credentials: %w", err)
	}
	u, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", fmt.Errorf("cannot read credentials: %w", err)
	}
	return u.Subject, nil
}

// Revoke makes every credentials file of a public key worthless, durably. A running
// embedded server learns of it through [Server.Revoke], others when they load the
// accounts rendered next.
func (k *Keys) Revoke(publicKey string) error {
	if !nkeys.IsValidPublicUserKey(publicKey) {
		return fmt.Errorf("cannot revoke %q: not the public key of a user", wire.Clip(publicKey))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := maps.Clone(k.revoked)
	next[publicKey] = time.Now().UTC()
	data, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = writeSynced(filepath.Join(k.dir, revokedName), data)
	}
	if err != nil {
		return fmt.Errorf("cannot revoke %s: %w", publicKey, err)
	}
	k.revoked = next
	return nil
}

// revoke enters the revocations into an account; a key says nothing about its account.
func (k *Keys) revoke(a *jwt.AccountClaims) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range wire.Keys(k.revoked) {
		a.RevokeAt(key, k.revoked[key].Add(time.Second)) // claims count whole seconds
	}
}
