package provider

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/wire"
)

// lookTime is how long reading a target back may take, 50 pages of a large one, unless the
// timeout of the target is longer.
const lookTime = time.Minute

// every is config.KeeperConfig.Every; tests do not wait for it.
var every time.Duration

// driver is a target as a data plane.
type driver struct {
	*config.Keeper
	traits dataplane.Traits
}

var _ dataplane.Restorer = (*driver)(nil)

// open makes the driver of a target. It reads the token, and sends nothing.
func (t Target) open(cfg dataplane.Config) (dataplane.Driver, error) {
	fail := func(err error) (dataplane.Driver, error) { return nil, fmt.Errorf("targets.%s: %w", cfg.App, err) }
	data, err := smallfile.Read(t.TokenFile)
	if err != nil {
		return fail(fmt.Errorf("token_file: %w", err))
	}
	target, err := kinds[t.Kind].open(t, strings.TrimSpace(string(data)))
	if err != nil {
		return fail(err)
	}
	keeper, err := config.NewKeeper(config.KeeperConfig{
		Target: target, Dir: cfg.Dir, Keep: t.Keep, Settle: t.Settle.Std(), Timeout: t.Timeout.Std(),
		Every: every, Logger: cfg.Logger.With("app", cfg.App),
	})
	if err != nil {
		return fail(err)
	}
	return &driver{keeper, dataplane.Traits{
		Name: t.Kind, DropFree: true, Arms: target.Limits().Stages, URL: cfg.URL,
		Look: max(lookTime, t.Timeout.Std()),
	}}, nil
}

func (d *driver) Traits() dataplane.Traits { return d.traits }

// release tells the keeper of a release on this disk.
func (d *driver) release(r dataplane.Release) config.Release {
	return config.Release{
		ID: r.ID(), Content: string(r.Version) + "-" + r.Digest.Short(), Files: os.DirFS(r.Dir),
		Check: func(ctx context.Context, header http.Header) error { return d.ask(ctx, r, header) },
	}
}

// Validate stages, too, where the provider can validate only what it has. A provider
// that does not answer says nothing of the release: it is tried again, like a bus that
// is not connected.
func (d *driver) Validate(ctx context.Context, r dataplane.Release) error {
	err := d.Keeper.Validate(ctx, d.release(r))
	if err != nil && config.Passing(err) {
		return passing{err}
	}
	return err
}

// passing is an error that the agent does not hold against a release.
type passing struct{ error }

func (p passing) Unwrap() error        { return p.error }
func (p passing) Is(target error) bool { return target == wire.ErrDisconnected }

// Arm has nothing to add: what can be staged has been staged to be validated.
func (d *driver) Arm(context.Context, dataplane.Release) error { return nil }

// Activate may be tried again, too, if the provider did not answer before anything was
// changed there.
func (d *driver) Activate(ctx context.Context, r dataplane.Release) error {
	err := d.Keeper.Activate(ctx, d.release(r))
	if err != nil && config.Passing(err) && config.Untouched(err) {
		return passing{err}
	}
	return err
}

func (d *driver) Confirm(ctx context.Context, r dataplane.Release) (string, error) {
	return d.Keeper.Confirm(ctx, d.release(r))
}

func (d *driver) Check(ctx context.Context, r dataplane.Release) error { return d.ask(ctx, r, nil) }

// ask sends the probes to where the target takes effect, if that is known.
func (d *driver) ask(ctx context.Context, r dataplane.Release, header http.Header) error {
	if d.traits.URL == "" {
		return nil
	}
	for _, p := range r.Probes {
		if err := dataplane.Probe(ctx, d.traits.URL, p, header); err != nil {
			return err
		}
	}
	return nil
}

// Close has nothing to let go of: what was activated stays.
func (d *driver) Close() error { return nil }
