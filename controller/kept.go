package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// keptBundles is of how many of an app's newest bundles the manifests are kept here,
// besides those that the app's record names.
const keptBundles = 8

// bucketManifests holds a bucket for each bundle, named by its pack's index: the index
// and what the manifest is made of, digest → blob. Without it the loss of the bus would
// leave nobody who knows what the next activation has to purge.
var bucketManifests = []byte("manifests")

// blobOf returns a reader of the blobs of a bundle's index and manifest, which are looked
// for here first.
func (c *Controller) blobOf(index wire.Digest) func(context.Context, wire.Digest) ([]byte, error) {
	return func(ctx context.Context, d wire.Digest) (blob []byte, err error) {
		err = c.db.View(func(tx *bolt.Tx) error {
			if all := tx.Bucket(bucketManifests); all != nil && all.Bucket(index[:]) != nil {
				blob = bytes.Clone(all.Bucket(index[:]).Get(d[:]))
			}
			return nil
		})
		if err != nil || blob != nil {
			return blob, err
		}
		return c.cfg.Bus.Blob(ctx, d)
	}
}

// keep keeps the manifest of a bundle here.
func (c *Controller) keep(ctx context.Context, index wire.Digest) error {
	blobs := make(map[wire.Digest][]byte)
	read := c.blobOf(index)
	_, _, err := payloadOf(ctx, index, func(ctx context.Context, d wire.Digest) ([]byte, error) {
		blob, err := read(ctx, d)
		blobs[d] = blob
		return blob, err
	})
	if err != nil {
		return err
	}
	return c.db.Update(func(tx *bolt.Tx) error {
		all, err := tx.CreateBucketIfNotExists(bucketManifests)
		if err != nil {
			return err
		}
		b, err := all.CreateBucketIfNotExists(index[:])
		if err != nil {
			return err
		}
		for d, blob := range blobs {
			if err := b.Put(d[:], blob); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepAll keeps the manifests of all bundles that may be needed, and no others. What the
// bus has lost, too, is passed over.
func (c *Controller) keepAll(ctx context.Context) error {
	needed, err := c.needed()
	if err != nil {
		return err
	}
	have, err := c.kept()
	if err != nil {
		return err
	}
	for _, b := range needed {
		if !have[b.Index] {
			if err := c.keep(ctx, b.Index); err != nil && !errors.Is(err, wire.ErrNotFound) {
				return fmt.Errorf("cannot keep the manifest of %s %s: %w", b.App, b.Version, err)
			}
		}
		delete(have, b.Index)
	}
	if len(have) == 0 {
		return nil
	}
	return c.drop(have)
}

// drop drops those of the kept manifests that are not needed. While a bundle is being
// published, whose manifest is kept before the journal names it, that is put off.
func (c *Controller) drop(have map[wire.Digest]bool) error {
	if !c.publishing.TryLock() {
		return nil
	}
	defer c.publishing.Unlock()
	needed, err := c.needed()
	if err != nil {
		return err
	}
	for _, b := range needed {
		delete(have, b.Index)
	}
	return c.db.Update(func(tx *bolt.Tx) error {
		for index := range have {
			if err := tx.Bucket(bucketManifests).DeleteBucket(index[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// kept returns the bundles whose manifests are kept, by index.
func (c *Controller) kept() (map[wire.Digest]bool, error) {
	have := make(map[wire.Digest]bool)
	return have, c.db.View(func(tx *bolt.Tx) error {
		all := tx.Bucket(bucketManifests)
		if all == nil {
			return nil
		}
		return all.ForEachBucket(func(index []byte) error {
			have[wire.Digest(index)] = true
			return nil
		})
	})
}

// needed returns the bundles whose manifests may be needed: the newest of every app, and
// those that an app's record names.
func (c *Controller) needed() ([]BundleInfo, error) {
	named := make(map[wire.Digest]bool)
	err := c.records(appKey(""), func(key string, v []byte) error {
		rec, err := decodeRecord[rollout.Record](v)
		if err != nil {
			return fmt.Errorf("journal record %s: %w", key, err)
		}
		maps.Copy(named, rec.Bundles())
		return nil
	})
	if err != nil {
		return nil, err
	}
	var bundles []BundleInfo
	err = c.records("bundle.", func(key string, v []byte) error {
		b, err := decodeRecord[BundleInfo](v)
		if err != nil {
			return fmt.Errorf("journal record %s: %w", key, err)
		}
		bundles = append(bundles, b)
		return nil
	})
	slices.SortFunc(bundles, func(a, b BundleInfo) int { return b.Version.Compare(a.Version) })
	newer := make(map[wire.App]int)
	return slices.DeleteFunc(bundles, func(b BundleInfo) bool {
		newer[b.App]++
		return newer[b.App] > keptBundles && !named[b.Digest]
	}), err
}
