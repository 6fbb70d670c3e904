package config

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tolerated is how long a release that was read back counts as there while the
// provider's API gives no answer: that says nothing of what is served.
const tolerated = 5 * time.Minute

// proof is the last good reading.
type proof struct {
	release  string // Release.ID
	at       time.Time
	evidence string
}

// ErrDiffers says that a target holds something else than the release.
var ErrDiffers = errors.New("is not as released")

// Confirm reads the target back, and returns in one line what it found. It makes one
// attempt. A release that was just found well is not read again within Every.
func (k *Keeper) Confirm(ctx context.Context, r Release) (evidence string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	proven := k.proof.release == r.ID && r.ID != ""
	if proven && time.Since(k.proof.at) < k.every {
		return k.proof.evidence, nil
	}
	g, err := k.goal(r)
	if err != nil {
		return "", err
	}
	have, err := k.target.Read(ctx, g.keys)
	if err != nil {
		if age := time.Since(k.proof.at); proven && Passing(err) && age < tolerated {
			k.log.Warn("not read back, counts as before", "target", k.target.Name(), "read", age, "err", err)
			return fmt.Sprintf("%s, %s ago", k.proof.evidence, age.Round(time.Second)), nil
		}
		return "", err
	}
	k.proof = proof{}
	want := g.want(have)
	if why := difference(k.target, have, want); why != "" {
		return "", fmt.Errorf("%s %w: %s", k.target.Name(), ErrDiffers, why)
	}
	evidence = fmt.Sprintf("%s shows %s and its %d items", k.target.Name(), have.Release, len(g.content.Items))
	if have.Version != "" {
		evidence += ", version " + have.Version
	}
	k.proof = proof{release: r.ID, at: time.Now(), evidence: evidence}
	return evidence, nil
}
