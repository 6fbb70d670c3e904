package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/bundle"
	"github.com/ebbgate/ebbgate/wire"
)

// uploads run at the same time; the bus takes 16 from all publishers together.
const uploads = 4

func newPublishCommand(c *cli) *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "publish DIR|FILE",
		Short: "Sign a bundle and hand it to the controller; nothing is rolled out yet",
		Long: `Build and sign the bundle in a directory, or take a bundle file that "bundle build"
made, and hand it to the controller. Only what the controller does not have is sent.

Nothing is rolled out: see "plan" and "rollout start".`,
		Example: `  ebbgate publish ./edge-proxy --key author.key
  ebbgate publish edge-proxy-1.4.0.ebb`,
		Args: takes("DIR|FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				info, err := publish(ctx, c, cl, args[0], keys)
				if err != nil {
					return cannot(err, "publish %s", args[0])
				}
				return printOne(c, info, bundleList)
			})
		},
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "file with the key of a release author, to sign a DIR with; may be repeated")
	return cmd
}

func publish(ctx context.Context, c *cli, cl *api.Client, path string, keys []string) (info controller.BundleInfo, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return info, reason(err)
	}
	switch {
	case fi.IsDir() && len(keys) == 0:
		return info, usagef("--key is missing: a directory has to be signed")
	case !fi.IsDir() && len(keys) > 0:
		return info, usagef("--key is for a directory: %s was signed when it was built", path)
	case fi.IsDir():
		dir, err := os.MkdirTemp("", "ebbgate-publish-")
		if err != nil {
			return info, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "bundle.ebb")
		if err := buildFile(ctx, path, file, keys, previous(ctx, cl, path)); err != nil {
			return info, err
		}
		path = file
	}
	f, err := bundle.OpenFile(path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	if len(f.Index.Signatures) == 0 {
		return info, fmt.Errorf("it is not signed: %w", wire.ErrSignature)
	}
	m, err := bundle.Verify(ctx, f, nil) // what the controller has already is not sent, so nobody else would look at it
	if err != nil {
		return info, err
	}
	if err := above(ctx, cl, m, f.Index.Digest); err != nil {
		return info, err
	}
	if err := upload(ctx, c, cl, f); err != nil {
		return info, err
	}
	return cl.Publish(ctx, f.Pack)
}

// above reports why the version of m cannot be published, before its content is sent. The
// controller asks again when it is published.
func above(ctx context.Context, cl *api.Client, m *wire.Manifest, digest wire.Digest) error {
	bundles, err := cl.Bundles(ctx, m.App)
	if err != nil {
		return err
	}
	var newest controller.BundleInfo
	for _, b := range bundles {
		if b.Digest == digest {
			return nil // publishing again is free
		}
		if b.Version.Compare(newest.Version) > 0 {
			newest = b
		}
	}
	if !newest.Digest.IsZero() && m.Version.Compare(newest.Version) <= 0 {
		return fmt.Errorf("%s %s is not above %s, the newest published", m.App, m.Version, newest.Version)
	}
	return nil
}

// previous returns the bundle that the one in dir follows, so that its declared growth
// can be held against it; nil if there is none. What goes wrong here comes out, with a
// better message, when the bundle is built or published.
func previous(ctx context.Context, cl *api.Client, dir string) *wire.Manifest {
	data, err := smallfile.Read(filepath.Join(dir, "bundle.yaml"))
	if err != nil {
		return nil
	}
	spec, err := bundle.ParseSpec(data)
	if err != nil {
		return nil
	}
	bundles, err := cl.Bundles(ctx, spec.App)
	if err != nil {
		return nil
	}
	var last controller.BundleInfo // of those that are not above this one: publishing again is fine
	for _, b := range bundles {
		if b.Version.Compare(spec.Version) <= 0 && b.Version.Compare(last.Version) > 0 {
			last = b
		}
	}
	if last.Digest.IsZero() {
		return nil
	}
	payload, err := cl.Manifest(ctx, last.Digest)
	if err != nil {
		return nil
	}
	m, err := wire.DecodeManifest(payload)
	if err != nil {
		return nil
	}
	return m
}

// upload sends what the controller does not have, the index last: a stored index means a
// complete pack.
func upload(ctx context.Context, c *cli, cl *api.Client, f *bundle.File) error {
	blobs := f.Blobs()
	missing, err := cl.MissingBlobs(ctx, blobs)
	if err != nil {
		return err
	}
	c.progress("uploading %d of %d blobs", len(missing), len(blobs))
	send := func(ctx context.Context, d wire.Digest) error {
		data, err := f.Blob(d)
		if err != nil {
			return err
		}
		return cl.PutBlob(ctx, d, data)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	index := false
	for _, d := range missing {
		if d == f.Pack {
			index = true
			continue
		}
		g.Go(func() error { return send(gctx, d) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return ctx.Err()
		}
		return err
	}
	if index {
		return send(ctx, f.Pack)
	}
	return nil
}
