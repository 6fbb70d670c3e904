package cloudflare

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// overrideHeader sends a request to one version of a deployment.
const overrideHeader = "Cloudflare-Workers-Version-Overrides"

const (
	trialPause = time.Second // between two checks
	trialFails = 3           // checks in a row
)

// try gives a version its share for the time of the trial, and asks it meanwhile.
func (w *Worker) try(ctx context.Context, b config.Batch, now deployment) error {
	others := slices.DeleteFunc(slices.Clone(now.Versions), func(s share) bool { return s.Version == b.Want.Version })
	if len(others) == 0 {
		return nil // nobody to share with
	}
	old := slices.MaxFunc(others, func(a, b share) int { return cmp.Compare(a.Percent, b.Percent) })
	parts := []share{{b.Want.Version, w.trial.Percent}, {old.Version, 100 - w.trial.Percent}}
	if err := w.deploy(ctx, parts, fmt.Sprintf("trial of %s", b.Want.Release), false); err != nil {
		return err
	}
	header := http.Header{overrideHeader: {fmt.Sprintf("%s=%q", w.script, b.Want.Version)}}
	for end, fails := time.Now().Add(w.trial.For), 0; ; {
		pause := time.NewTimer(min(trialPause, time.Until(end)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
		if err := b.Check(ctx, header); err == nil {
			fails = 0
		} else if ctx.Err() != nil {
			return ctx.Err() // which says nothing of the version
		} else if fails++; fails == trialFails || !time.Now().Before(end) {
			return fmt.Errorf("%w: version %s with %v%% of the requests: %w", config.ErrTrial, b.Want.Version, w.trial.Percent, err)
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
}
