package api

import (
	"context"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Controller is what the API serves. All methods may be called concurrently, return when
// ctx ends, and refuse with an error that wraps one of the sentinels of packages
// controller and wire; any other error is a fault of the controller. by is the name of
// the token that asks, for the audit log.
type Controller interface {
	// MissingBlobs returns those of the digests that are not stored, in the order asked.
	MissingBlobs(ctx context.Context, digests []wire.Digest) ([]wire.Digest, error)
	// PutBlob stores a blob; storing it again is free.
	PutBlob(ctx context.Context, d wire.Digest, data []byte) error
	// Publish takes in the bundle whose full pack has this index; all its blobs are stored.
	Publish(ctx context.Context, index wire.Digest, by string) (controller.BundleInfo, error)
	// Bundles lists the bundles of an app, or of all with "".
	Bundles(ctx context.Context, app wire.App) ([]controller.BundleInfo, error)
	// Manifest returns the payload of a published bundle's manifest.
	Manifest(ctx context.Context, digest wire.Digest) ([]byte, error)

	// Plan says what Start would do, and changes nothing.
	Plan(ctx context.Context, r controller.StartRequest) (controller.PlanView, error)
	Start(ctx context.Context, r controller.StartRequest, by string) (controller.AppView, error)
	// Command is one of [controller.Commands].
	Command(ctx context.Context, app wire.App, name string, of rollout.Of, by string) (controller.AppView, error)
	Apps(ctx context.Context) ([]controller.AppView, error)
	App(ctx context.Context, app wire.App) (controller.AppView, error)
	// History lists the rollouts of an app.
	History(ctx context.Context, app wire.App) ([]rollout.Rollout, error)

	// Sure returns why commands are refused although this controller leads: the bus does not
	// confirm it. It does not wait.
	Sure() error
	Regions(ctx context.Context) ([]controller.RegionView, error)
	// Agents lists the agents of a region, or of all with "".
	Agents(ctx context.Context, region wire.Region) ([]controller.AgentView, error)
	Enroll(ctx context.Context, r controller.EnrollRequest, by string) (controller.Enrolment, error)
	Drain(ctx context.Context, region wire.Region, agent wire.AgentID, drained bool, by string) error
	// Remove strikes an agent off; its name can then be enrolled again.
	Remove(ctx context.Context, region wire.Region, agent wire.AgentID, by string) error

	// Purges lists the purge outbox; "" stands for every region or app.
	Purges(ctx context.Context, region wire.Region, app wire.App) ([]controller.PurgeView, error)
	RunPurge(ctx context.Context, r controller.PurgeRequest, by string) ([]controller.PurgeView, error)

	// Events sends the events after the one with id after that are still kept, and then
	// each new one. The channel is closed when ctx ends or its reader is too slow.
	Events(ctx context.Context, after uint64) (<-chan controller.Event, error)
	// Audit lists the entries of the audit log after the one with id after.
	Audit(ctx context.Context, after uint64) ([]controller.AuditEntry, error)
}
