package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// missingPerCall keeps a request for missing blobs well below the body's bound.
const missingPerCall = 10_000

func get[T any](ctx context.Context, c *Client, path string) (out T, err error) {
	return out, c.call(ctx, http.MethodGet, path, nil, &out)
}

// query appends the parameters that are not empty, given as name, value, ….
func query(path string, pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

func appPath(app wire.App, rest string) string {
	return "/v1/apps/" + url.PathEscape(string(app)) + rest
}

func agentPath(region wire.Region, agent wire.AgentID) string {
	return "/v1/regions/" + url.PathEscape(string(region)) + "/agents/" + url.PathEscape(string(agent))
}

// MissingBlobs returns those of the digests that the controller does not have.
func (c *Client) MissingBlobs(ctx context.Context, digests []wire.Digest) ([]wire.Digest, error) {
	var missing []wire.Digest
	for len(digests) > 0 {
		n := min(len(digests), missingPerCall)
		var out MissingResponse
		if err := c.call(ctx, http.MethodPost, "/v1/blobs/missing", MissingRequest{digests[:n]}, &out); err != nil {
			return nil, err
		}
		missing, digests = append(missing, out.Missing...), digests[n:]
	}
	return missing, nil
}

// PutBlob uploads a blob; doing it again is harmless.
func (c *Client) PutBlob(ctx context.Context, d wire.Digest, data []byte) error {
	_, err := c.exchange(ctx, http.MethodPut, "/v1/blobs/"+d.String(), "application/octet-stream", data)
	return err
}

// Publish takes in a bundle whose blobs are all uploaded.
func (c *Client) Publish(ctx context.Context, index wire.Digest) (out controller.BundleInfo, err error) {
	return out, c.call(ctx, http.MethodPost, "/v1/bundles", PublishRequest{index}, &out)
}

// Bundles lists the bundles of an app, or of all with "".
func (c *Client) Bundles(ctx context.Context, app wire.App) ([]controller.BundleInfo, error) {
	return get[[]controller.BundleInfo](ctx, c, query("/v1/bundles", "app", string(app)))
}

// Manifest returns the payload of a published bundle's manifest, checked against the
// digest.
func (c *Client) Manifest(ctx context.Context, d wire.Digest) ([]byte, error) {
	payload, err := c.exchange(ctx, http.MethodGet, "/v1/manifests/"+d.String(), "", nil)
	if err != nil {
		return nil, err
	}
	if wire.DigestOf(payload) != d {
		return nil, &wire.FieldError{Doc: "manifest", Field: "digest", Reason: "the controller sent other content than " + d.Short()}
	}
	return payload, nil
}

// Plan says what Start would do.
func (c *Client) Plan(ctx context.Context, r controller.StartRequest) (out controller.PlanView, err error) {
	return out, c.call(ctx, http.MethodPost, "/v1/plan", r, &out)
}

// Start starts a rollout.
func (c *Client) Start(ctx context.Context, r controller.StartRequest) (out controller.AppView, err error) {
	return out, c.call(ctx, http.MethodPost, "/v1/rollouts", r, &out)
}

// Command steers the rollout of an app; name is one of [controller.Commands]. A controller
// from before there was of takes no body, and refuses one.
func (c *Client) Command(ctx context.Context, app wire.App, name string, of rollout.Of) (out controller.AppView, err error) {
	var body any
	if of != (rollout.Of{}) {
		body = of
	}
	return out, c.call(ctx, http.MethodPost, appPath(app, "/"+url.PathEscape(name)), body, &out)
}

// Apps lists the apps.
func (c *Client) Apps(ctx context.Context) ([]controller.AppView, error) {
	return get[[]controller.AppView](ctx, c, "/v1/apps")
}

// App returns the state of one app.
func (c *Client) App(ctx context.Context, app wire.App) (controller.AppView, error) {
	return get[controller.AppView](ctx, c, appPath(app, ""))
}

// History lists the rollouts of an app.
func (c *Client) History(ctx context.Context, app wire.App) ([]rollout.Rollout, error) {
	return get[[]rollout.Rollout](ctx, c, appPath(app, "/history"))
}

// Regions lists the regions.
func (c *Client) Regions(ctx context.Context) ([]controller.RegionView, error) {
	return get[[]controller.RegionView](ctx, c, "/v1/regions")
}

// Agents lists the agents of a region, or of all with "".
func (c *Client) Agents(ctx context.Context, region wire.Region) ([]controller.AgentView, error) {
	return get[[]controller.AgentView](ctx, c, query("/v1/agents", "region", string(region)))
}

// Enroll admits an agent.
func (c *Client) Enroll(ctx context.Context, r controller.EnrollRequest) (out controller.Enrolment, err error) {
	return out, c.call(ctx, http.MethodPost, "/v1/agents", r, &out)
}

// Drain takes an agent out of service, or back into it.
func (c *Client) Drain(ctx context.Context, region wire.Region, agent wire.AgentID, drained bool) error {
	return c.call(ctx, http.MethodPut, agentPath(region, agent)+"/drained", DrainRequest{drained}, nil)
}

// Remove strikes an agent off.
func (c *Client) Remove(ctx context.Context, region wire.Region, agent wire.AgentID) error {
	return c.call(ctx, http.MethodDelete, agentPath(region, agent), nil, nil)
}

// Purges lists the purge outbox; "" stands for every region or app.
func (c *Client) Purges(ctx context.Context, region wire.Region, app wire.App) ([]controller.PurgeView, error) {
	return get[[]controller.PurgeView](ctx, c, query("/v1/purges", "region", string(region), "app", string(app)))
}

// RunPurge purges by hand.
func (c *Client) RunPurge(ctx context.Context, r controller.PurgeRequest) (out []controller.PurgeView, err error) {
	return out, c.call(ctx, http.MethodPost, "/v1/purges", r, &out)
}

// Audit lists the entries of the audit log after the one with id after.
func (c *Client) Audit(ctx context.Context, after uint64) ([]controller.AuditEntry, error) {
	path := "/v1/audit"
	if after > 0 {
		path = query(path, "after", strconv.FormatUint(after, 10))
	}
	return get[[]controller.AuditEntry](ctx, c, path)
}
