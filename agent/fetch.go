package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/agent/stage"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

const (
	fetchers = 4                            // chunks asked for at the same time
	perBatch = stage.Batch / pack.ChunkSize // chunks of one transaction
	reserve  = 16 << 20                     // bytes of the disk that staging leaves for the journal
)

// bundle is what is kept in memory of a manifest.
type bundle struct {
	floor  wire.Version
	probes []wire.Probe
	hooks  []string
	bytes  int64 // content in this region
}

// stage brings a bundle onto the node: verified, on disk, validated by the data plane.
func (w *app) stage(ctx context.Context, t wire.Target) error {
	if err := w.tidy(t.Digest); err != nil {
		return err
	}
	if w.armed.Digest == t.Digest {
		w.armed = wire.Target{} // of files that are no more
	}
	err := w.bring(ctx, t)
	if err == nil {
		err = w.validate(ctx, t)
	}
	switch {
	case err == nil:
		w.staged[t.Digest] = true
		delete(w.failed, t.Digest)
	case errors.Is(err, errSuperseded), errors.Is(err, release.ErrSync), ctx.Err() != nil:
	default:
		err = fmt.Errorf("cannot stage %s %s: %w", w.name, t.Version, err)
		w.failed[t.Digest] = plan.Failure{Why: err.Error(), Permanent: !passing(err)}
		if refusal(err) {
			w.a.orders.refuse(err)
		}
	}
	return err
}

// passing reports whether trying again may help without anybody doing anything.
func passing(err error) bool {
	return errors.Is(err, wire.ErrDisconnected) || errors.Is(err, wire.ErrNotFound) || errors.Is(err, context.DeadlineExceeded)
}

// refusal reports whether err is about what was received and not about the node.
func refusal(err error) bool {
	for _, is := range []error{wire.ErrSignature, wire.ErrInvalid, wire.ErrTooLarge, wire.ErrFloor} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// bring makes the release directory: from what is on the node, else from the packs on offer.
func (w *app) bring(ctx context.Context, t wire.Target) error {
	if m, err := w.kept(t); err == nil && w.rel.Verify(t.Digest, m.For(w.a.cfg.Region)) == nil {
		return nil
	}
	packs, err := w.a.store.Packs(t.Digest)
	if err != nil {
		return err
	}
	for _, p := range packs {
		ix, err := pack.DecodeIndex(p.Index)
		if err != nil || p.Chunks < len(ix.Chunks()) {
			continue
		}
		m, err := w.kept(t)
		if err == nil {
			err = w.unpack(ctx, p.Digest, ix, m)
		}
		if err == nil || errors.Is(err, release.ErrSync) || errors.Is(err, release.ErrFull) || ctx.Err() != nil {
			return err
		}
		w.log.Warn("what is stored of a pack is of no use", "pack", p.Digest.Short(), "err", err)
		if err := w.a.store.Forget(p.Digest); err != nil {
			return err
		}
	}
	err = fmt.Errorf("no pack is offered: %w", wire.ErrNotFound)
	for _, ref := range t.Packs {
		if err = w.fetch(ctx, t, ref); !errors.Is(err, pack.ErrDelta) && !errors.Is(err, wire.ErrNotFound) {
			return err
		}
	}
	return err
}

// kept returns the manifest of a bundle that was verified here before, verified again:
// an author's key may have been withdrawn since.
func (w *app) kept(t wire.Target) (*wire.Manifest, error) {
	s, err := w.a.store.Manifest(t.Digest)
	if err != nil {
		return nil, err
	}
	return w.admit(t, s)
}

// admit verifies a manifest against the order that names it and against what this node
// may run.
func (w *app) admit(t wire.Target, s stage.Manifest) (*wire.Manifest, error) {
	m, d, err := w.a.trust.OpenManifest(s.Payload, s.Signatures)
	refuse := func(field, format string, args ...any) error {
		return &wire.FieldError{Doc: "manifest", Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case err != nil:
		return nil, err
	case d != t.Digest:
		return nil, refuse("digest", "is %s, ordered is %s", d.Short(), t.Digest.Short())
	case m.App != w.name:
		return nil, refuse("app", "is %q, want %q", m.App, w.name)
	case m.Version != t.Version:
		return nil, refuse("version", "is %s, ordered is %s", m.Version, t.Version)
	case w.state.Floor.Compare(m.Version) > 0:
		return nil, fmt.Errorf("manifest: %w: version %s, floor %s", wire.ErrFloor, m.Version, w.state.Floor)
	}
	local := w.a.cfg.Apps[w.name].Limits
	if err := m.Within(local, "this node", w.a.cfg.Region); err != nil {
		return nil, err
	}
	b := w.remember(t.Digest, m)
	// Growth is held against what the region runs. A node that has missed versions runs
	// something older, and would never catch up.
	r := w.state.Running
	order, _ := w.a.orders.order(w.name)
	if r == nil || order.Base == nil || order.Base.Digest != r.Digest || r.Version.Compare(m.Version) >= 0 || w.bundles[r.Digest] == nil {
		return m, nil
	}
	for _, growth := range []float64{m.Limits.Growth, local.Growth} {
		if old := w.bundles[r.Digest].bytes; growth > 0 && float64(b.bytes) > growth*float64(old) {
			return nil, refuse("limits.growth", "allows %g times the %d bytes of %s, it has %d", growth, old, r.Version, b.bytes)
		}
	}
	return m, nil
}

func (w *app) remember(d wire.Digest, m *wire.Manifest) *bundle {
	b := &bundle{floor: m.Floor, probes: m.Probes, hooks: m.Hooks, bytes: m.Size(w.a.cfg.Region)}
	w.bundles[d] = b
	return b
}

// fetch gets one pack, resuming what an earlier attempt stored, and unpacks it.
func (w *app) fetch(ctx context.Context, t wire.Target, ref wire.PackRef) error {
	blob, err := w.a.blobs.Blob(ctx, ref.Index)
	if err != nil {
		return fmt.Errorf("pack index: %w", err)
	}
	if got := wire.DigestOf(blob); got != ref.Index {
		return &wire.FieldError{Doc: "pack index", Field: "digest", Reason: fmt.Sprintf("is %s, ordered is %s", got.Short(), ref.Index.Short())}
	}
	ix, err := pack.DecodeIndex(blob)
	if err != nil {
		return err
	}
	if ix.Digest != t.Digest || ix.Base != ref.Base {
		return &wire.FieldError{Doc: "pack index", Field: "digest", Reason: "is of another bundle than the one ordered"}
	}
	// The manifest is verified before anything is stored: until then nobody has signed
	// for the size of what follows.
	payload, err := pack.Reader{Index: ix, Fetch: func(ctx context.Context, _ int, d wire.Digest) ([]byte, error) {
		return w.chunk(ctx, d)
	}}.Manifest(ctx)
	if err != nil {
		return err
	}
	s := stage.Manifest{Payload: payload, Signatures: ix.Signatures}
	m, err := w.admit(t, s)
	if err != nil {
		return err
	}
	if err := ix.Match(m); err != nil {
		return err
	}
	if err := w.room(ix, w.bundles[t.Digest]); err != nil {
		return err
	}
	p := stage.Pack{Digest: ref.Index, Bundle: t.Digest, Index: blob}
	have, err := w.a.store.AddPack(p, s)
	if err != nil {
		return err
	}
	if err := w.fetchChunks(ctx, t, p.Digest, ix.Chunks(), have); err != nil {
		return err
	}
	return w.unpack(ctx, p.Digest, ix, m)
}

// room refuses to begin what the disk cannot hold: a full disk would also stop the
// journal.
func (w *app) room(ix *pack.Index, b *bundle) error {
	free, err := w.rel.Free()
	if err != nil {
		return err
	}
	if need := ix.Manifest.Packed + ix.Content.Packed + ix.Manifest.Size + b.bytes + reserve; need > free {
		return fmt.Errorf("%w: %d bytes are needed, %d are free", release.ErrFull, need, free)
	}
	return nil
}

// fetchChunks stores the chunks from number have on, in order. What was fetched without
// a gap is stored even when a later one fails.
func (w *app) fetchChunks(ctx context.Context, t wire.Target, p wire.Digest, chunks []wire.Digest, have int) error {
	_, sequence := w.a.orders.order(w.name)
	for have < len(chunks) {
		if w.urgent(t, sequence) {
			return errSuperseded
		}
		batch := make([][]byte, min(perBatch, len(chunks)-have))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(fetchers)
		for i := range batch {
			g.Go(func() (err error) {
				batch[i], err = w.chunk(gctx, chunks[have+i])
				return err
			})
		}
		err := g.Wait()
		n := 0
		for n < len(batch) && batch[n] != nil {
			n++
		}
		w.a.cfg.trace("chunks fetched")
		if n > 0 {
			if err := w.a.store.AddChunks(p, have, batch[:n]); err != nil {
				return err
			}
			w.a.cfg.trace("chunks stored")
		}
		if err != nil {
			return err
		}
		have += n
	}
	return nil
}

// chunk returns a chunk from the node's own disk or from elsewhere, verified.
func (w *app) chunk(ctx context.Context, d wire.Digest) ([]byte, error) {
	if data, err := w.a.store.Chunk(d); err == nil && pack.VerifyChunk(d, data) == nil {
		return data, nil
	}
	data, err := w.a.blobs.Blob(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("chunk %s: %w", d.Short(), err)
	}
	if err := pack.VerifyChunk(d, data); err != nil {
		return nil, err
	}
	return data, nil
}

// unpack writes the release directory from a pack that is stored whole.
func (w *app) unpack(ctx context.Context, p wire.Digest, ix *pack.Index, m *wire.Manifest) error {
	out, err := w.rel.Write(ix.Digest, m.For(w.a.cfg.Region))
	if err != nil {
		return err
	}
	offset := len(ix.Manifest.Chunks)
	r := pack.Reader{Index: ix, Fetch: func(_ context.Context, i int, _ wire.Digest) ([]byte, error) {
		return w.a.store.ChunkAt(p, offset+i)
	}}
	err = r.Contents(ctx, m, func(c wire.Content, content io.Reader) error {
		if !out.Wants(c.SHA256) {
			return nil // of another region's overlay
		}
		w.a.cfg.trace("unpacking")
		return out.Put(c.SHA256, content)
	})
	if err != nil {
		out.Abort()
		return err
	}
	w.a.cfg.trace("before release rename")
	if err := out.Commit(); err != nil {
		return err
	}
	w.a.cfg.trace("after release rename")
	return nil
}

// validate lets the data plane's own validator look at a release on disk.
func (w *app) validate(ctx context.Context, t wire.Target) error {
	r, err := w.release(plan.Release{Epoch: t.Epoch, Digest: t.Digest, Version: t.Version})
	if err != nil {
		return err
	}
	return w.plane.Validate(ctx, r)
}

// release returns what a data plane has to know of a release on this node.
func (w *app) release(r plan.Release) (dataplane.Release, error) {
	b := w.bundles[r.Digest]
	if b == nil {
		s, err := w.a.store.Manifest(r.Digest)
		if err != nil {
			return dataplane.Release{}, err
		}
		// Its signatures were verified when it was staged. What the node serves must come
		// back after a restart whatever has become of the authors' keys.
		m, err := wire.DecodeManifest(s.Payload)
		if err != nil {
			return dataplane.Release{}, err
		}
		b = w.remember(r.Digest, m)
	}
	return dataplane.Release{
		App: w.name, Region: w.a.cfg.Region, Epoch: r.Epoch, Digest: r.Digest, Version: r.Version,
		Dir: w.rel.Path(r.Digest), Probes: b.probes, Hooks: b.hooks,
	}, nil
}
