package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// MissingBlobs returns those of the given blobs that have still to be uploaded.
func (c *Controller) MissingBlobs(ctx context.Context, all []wire.Digest) ([]wire.Digest, error) {
	have := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, d := range all {
		g.Go(func() (err error) {
			if have[i], err = c.cfg.Bus.HasBlob(ctx, d); err != nil {
				return fmt.Errorf("cannot look up blob %s: %w", d.Short(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	missing := []wire.Digest{}
	for i, d := range all {
		if !have[i] {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// lookups is how many blobs are looked up at a time, lookWithin for how long where an answer
// is of use without them, too.
const (
	lookups    = 16
	lookWithin = 3 * time.Second
)

// stageable returns nil if agents can stage a bundle: its authors are trusted today, and the
// bus has all of its content. The manifest may be kept here although a bus that was wiped has
// lost it. Of a bundle that is not published it says nothing.
func (c *Controller) stageable(ctx context.Context, digest wire.Digest) error {
	b, err := do(ctx, c, func() (BundleInfo, error) { return c.bundles[digest], nil })
	if err != nil || b.Digest.IsZero() {
		return err
	}
	ix, payload, err := c.readPayload(ctx, b.Index)
	var missing []wire.Digest
	if err == nil {
		if _, _, untrusted := c.cfg.Trust.OpenManifest(payload, ix.Signatures); untrusted != nil {
			return fmt.Errorf("%w: agents would not take %s %s: publish it again, signed by authors of today's root (%v)", ErrConflict, b.App, b.Version, untrusted)
		}
		missing, err = c.MissingBlobs(ctx, append(ix.Chunks(), b.Index))
	}
	switch {
	case errors.Is(err, wire.ErrNotFound), err == nil && len(missing) > 0:
		return lost(b)
	case err != nil:
		return fmt.Errorf("cannot tell whether the content of %s %s is on the bus: %w", b.App, b.Version, err)
	}
	return nil
}

// planStageable warns where agents could not stage what a plan rolls out, or not the bundle
// that they would go back to.
func (c *Controller) planStageable(ctx context.Context, view *PlanView, states []rollout.RegionRecord) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	known := make(map[wire.Digest]error)
	warn := func(p *PlanRegion, digest wire.Digest, format string) {
		err, there := known[digest]
		if !there {
			err = c.stageable(ctx, digest)
			known[digest] = err
		}
		if err != nil {
			p.Warnings = append(p.Warnings, fmt.Sprintf(format, strings.TrimPrefix(err.Error(), ErrConflict.Error()+": ")))
		}
	}
	for i := range view.Regions {
		p := &view.Regions[i]
		warn(p, view.Digest, "%s")
		if base := states[i].Committed; base != nil && base.Digest != view.Digest {
			warn(p, base.Digest, "to go back to: %s")
		}
	}
}

// lost says that the bus does not have a bundle any more, and what to do.
func lost(b BundleInfo) error {
	return fmt.Errorf("%w: content of %s %s is missing on the bus: publish it again", ErrConflict, b.App, b.Version)
}

// markMissing marks those bundles of which the bus has lost the index, which is uploaded
// last. While the bus does not answer, nothing is said.
func (c *Controller) markMissing(ctx context.Context, infos []BundleInfo) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var all []wire.Digest
	for _, b := range infos {
		all = append(all, b.Index)
	}
	missing, err := c.MissingBlobs(ctx, all)
	if err != nil {
		return
	}
	for i := range infos {
		infos[i].Missing = slices.Contains(missing, infos[i].Index)
	}
}

// PutBlob stores a blob that hashes to d. It is on the stream's disk once PutBlob returns.
func (c *Controller) PutBlob(ctx context.Context, d wire.Digest, data []byte) error {
	if len(data) > wire.MaxBlob {
		return fmt.Errorf("%w: blob %s has %d bytes, at most %d are allowed", ErrInvalid, d.Short(), len(data), wire.MaxBlob)
	}
	if got := wire.DigestOf(data); got != d {
		return fmt.Errorf("%w: blob %s hashes to %s", ErrInvalid, d.Short(), got.Short())
	}
	return c.cfg.Bus.PutBlob(ctx, d, data)
}

// Publish takes in the bundle whose full pack's index is given and whose blobs have all
// been uploaded: it verifies the signatures of the release authors, every rule that can
// be checked without the content, the limits of the app's newest bundle among them, and
// that the version is the app's highest. Publishing the same bundle again is free; with
// other signatures, or packed in another way, it replaces what agents are offered.
func (c *Controller) Publish(ctx context.Context, index wire.Digest, by string) (BundleInfo, error) {
	ix, m, authors, err := c.readBundle(ctx, index)
	if err != nil {
		return BundleInfo{}, err
	}
	missing, err := c.MissingBlobs(ctx, ix.Chunks())
	if err != nil {
		return BundleInfo{}, err
	}
	if len(missing) > 0 {
		return BundleInfo{}, fmt.Errorf("%w: %d of the bundle's blobs have not been uploaded, the first is %s", ErrInvalid, len(missing), missing[0].Short())
	}
	if err := c.checkRules(m); err != nil {
		return BundleInfo{}, err
	}
	before, err := c.follows(ctx, m, ix.Digest)
	if err != nil {
		return BundleInfo{}, err
	}
	c.publishing.RLock()
	defer c.publishing.RUnlock()
	if err := c.keep(ctx, index); err != nil {
		return BundleInfo{}, err
	}
	info := BundleInfo{
		App: m.App, Version: m.Version, Digest: ix.Digest, Index: index,
		Packed: ix.Manifest.Packed + ix.Content.Packed, Authors: authors, By: by, Published: time.Now().UTC(),
	}
	for _, content := range m.Contents() {
		info.Files++
		info.Bytes += content.Size
	}
	return decide(ctx, c, func() (BundleInfo, error) { return c.register(info, m, before) })
}

// follows holds m against the newest bundle of its app and returns that one's digest, zero
// for none.
func (c *Controller) follows(ctx context.Context, m *wire.Manifest, digest wire.Digest) (wire.Digest, error) {
	last, err := do(ctx, c, func() (BundleInfo, error) {
		last := c.newest(m.App)
		if _, there := c.bundles[digest]; there || m.Version.Compare(last.Version) <= 0 {
			return BundleInfo{}, nil // it is there, or register says why it cannot be
		}
		return last, nil
	})
	if err != nil || last.Digest.IsZero() {
		return wire.Digest{}, err
	}
	old, err := c.manifest(ctx, last.Digest)
	if err != nil {
		return wire.Digest{}, fmt.Errorf("cannot compare %s %s with %s, the newest published: %w", m.App, m.Version, last.Version, err)
	}
	return last.Digest, m.Follows(old)
}

// register adds a verified bundle to the catalogue that was held against the bundle
// before. It runs in the loop.
func (c *Controller) register(info BundleInfo, m *wire.Manifest, before wire.Digest) (BundleInfo, error) {
	if old, there := c.bundles[info.Digest]; there {
		return c.renew(old, info)
	}
	last := c.newest(info.App)
	if info.Version.Compare(last.Version) <= 0 {
		return BundleInfo{}, fmt.Errorf("%w: %s %s is not above %s, the newest published", ErrConflict, info.App, info.Version, last.Version)
	}
	if last.Digest != before {
		return BundleInfo{}, fmt.Errorf("%w: %s %s was published meanwhile, try again", ErrConflict, info.App, last.Version)
	}
	w := &write{put: map[string]any{bundleKey(info.Digest): info}}
	c.audit(w, AuditEntry{By: info.By, Kind: "publish", App: info.App,
		Text: fmt.Sprintf("%s published %s %s (%s), %d files, signed by %v", info.By, info.App, info.Version, info.Digest.Short(), info.Files, info.Authors)})
	if err := c.commit(w); err != nil {
		return BundleInfo{}, err
	}
	c.cfg.trace("bundle registered")
	c.bundles[info.Digest] = info
	c.manifests.put(info.Digest, m)
	c.emit(Event{App: info.App, Kind: "bundle", Text: fmt.Sprintf("%s %s published by %s", info.App, info.Version, info.By)})
	return info, nil
}

// renew takes in that a bundle was published again: other authors may have signed it, and it
// may be packed in another way. Orders that name it offer the new pack from now on. It runs
// in the loop.
func (c *Controller) renew(old, again BundleInfo) (BundleInfo, error) {
	info := old
	info.Index, info.Packed, info.Authors = again.Index, again.Packed, again.Authors
	if info.Index == old.Index && slices.Equal(info.Authors, old.Authors) {
		return old, nil
	}
	w := &write{put: map[string]any{bundleKey(info.Digest): info}}
	c.audit(w, AuditEntry{By: again.By, Kind: "publish", App: info.App,
		Text: fmt.Sprintf("%s published %s %s (%s) again, signed by %v, before by %v", again.By, info.App, info.Version, info.Digest.Short(), info.Authors, old.Authors)})
	if err := c.commit(w); err != nil {
		return BundleInfo{}, err
	}
	c.bundles[info.Digest] = info
	c.emit(Event{App: info.App, Kind: "bundle", Text: fmt.Sprintf("%s %s published again by %s", info.App, info.Version, again.By)})
	return info, c.reorder(wire.Keys(c.cfg.Regions)...)
}

// newest returns the app's bundle of the highest version, the zero one if there is none.
func (c *Controller) newest(app wire.App) (best BundleInfo) {
	for _, b := range c.bundles {
		if b.App == app && b.Version.Compare(best.Version) > 0 {
			best = b
		}
	}
	return best
}

// readBundle fetches and verifies the manifest behind a pack's index, and says who signed it.
func (c *Controller) readBundle(ctx context.Context, index wire.Digest) (*pack.Index, *wire.Manifest, []string, error) {
	ix, payload, err := c.readPayload(ctx, index)
	if err != nil {
		return nil, nil, nil, err
	}
	m, digest, err := c.cfg.Trust.OpenManifest(payload, ix.Signatures)
	if err != nil {
		return nil, nil, nil, err
	}
	if digest != ix.Digest {
		return nil, nil, nil, fmt.Errorf("%w: the pack says bundle %s, its manifest is %s", ErrInvalid, ix.Digest.Short(), digest.Short())
	}
	return ix, m, c.cfg.Trust.Authors(payload, ix.Signatures), ix.Match(m)
}

func (c *Controller) readPayload(ctx context.Context, index wire.Digest) (*pack.Index, []byte, error) {
	return payloadOf(ctx, index, c.blobOf(index))
}

func payloadOf(ctx context.Context, index wire.Digest, read func(context.Context, wire.Digest) ([]byte, error)) (*pack.Index, []byte, error) {
	blob, err := read(ctx, index)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read pack index %s: %w", index.Short(), err)
	}
	if wire.DigestOf(blob) != index {
		return nil, nil, fmt.Errorf("%w: pack index %s is corrupt", ErrInvalid, index.Short())
	}
	ix, err := pack.DecodeIndex(blob)
	if err != nil {
		return nil, nil, err
	}
	payload, err := pack.Reader{Index: ix, Fetch: func(ctx context.Context, _ int, d wire.Digest) ([]byte, error) {
		return read(ctx, d)
	}}.Manifest(ctx)
	return ix, payload, err
}

// Manifest returns the payload of a published bundle's manifest.
func (c *Controller) Manifest(ctx context.Context, digest wire.Digest) ([]byte, error) {
	info, err := do(ctx, c, func() (BundleInfo, error) {
		info, ok := c.bundles[digest]
		if !ok {
			return info, fmt.Errorf("%w: no bundle %s is published", ErrNotFound, digest.Short())
		}
		return info, nil
	})
	if err != nil {
		return nil, err
	}
	_, payload, err := c.readPayload(ctx, info.Index)
	return payload, err
}

// Bundles returns the published bundles of an app, or of all apps when app is empty, in
// ascending order of app and version.
func (c *Controller) Bundles(ctx context.Context, app wire.App) ([]BundleInfo, error) {
	infos, err := do(ctx, c, func() ([]BundleInfo, error) {
		infos := []BundleInfo{}
		for _, b := range c.bundles {
			if app == "" || b.App == app {
				infos = append(infos, b)
			}
		}
		slices.SortFunc(infos, func(a, b BundleInfo) int {
			if a.App != b.App {
				if a.App < b.App {
					return -1
				}
				return 1
			}
			return a.Version.Compare(b.Version)
		})
		return infos, nil
	})
	c.markMissing(ctx, infos)
	return infos, err
}

// manifest returns the manifest of a published bundle, from the cache or the bus. It was
// verified when it was published, and is what was verified by its digest: what regions run is
// compared and purged whatever has become of its authors' keys.
func (c *Controller) manifest(ctx context.Context, digest wire.Digest) (*wire.Manifest, error) {
	if digest.IsZero() {
		return nil, nil
	}
	if m := c.manifests.get(digest); m != nil {
		return m, nil
	}
	info, err := inLoop(ctx, c, func() (BundleInfo, error) { return c.bundles[digest], nil })
	if err != nil {
		return nil, err
	}
	if info.Digest.IsZero() {
		return nil, fmt.Errorf("%w: no bundle %s is published", ErrNotFound, digest.Short())
	}
	ix, payload, err := c.readPayload(ctx, info.Index)
	if errors.Is(err, wire.ErrNotFound) {
		return nil, lost(info)
	}
	if err == nil && ix.Digest != digest {
		err = fmt.Errorf("%w: its pack is of bundle %s", ErrInvalid, ix.Digest.Short())
	}
	var m *wire.Manifest
	if err == nil {
		m, err = wire.DecodeManifest(payload)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", digest.Short(), err)
	}
	c.manifests.put(digest, m)
	return m, nil
}
