package stage

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/wire"
)

// Batch is how many bytes of chunks go into one transaction at least, but for the last
// one: it bounds both what a crash makes the agent fetch again and the memory of a commit.
const Batch = 16 << 20

// Keys of a pack's bucket; chunks are in a bucket of their own, for which the fill is set.
var (
	keyBundle    = []byte("bundle")
	keyIndex     = []byte("index")
	bucketChunks = []byte("chunks")
)

// Manifest is a manifest as it was verified: its payload and the signatures over it.
type Manifest struct {
	Payload    []byte
	Signatures []wire.Signature
}

// Pack is a pack that is on the node, whole or in part.
type Pack struct {
	Digest wire.Digest // of its index
	Bundle wire.Digest
	Index  []byte
	Chunks int // stored, from the first on without a gap
}

// Manifest returns a bundle's manifest, or [wire.ErrNotFound].
func (s *Store) Manifest(bundle wire.Digest) (m Manifest, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketManifests)
		payload := b.Get(payloadKey(bundle))
		if payload == nil {
			return wire.ErrNotFound
		}
		m.Payload = append([]byte(nil), payload...)
		return json.Unmarshal(b.Get(signaturesKey(bundle)), &m.Signatures)
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest of bundle %s: %w", bundle.Short(), err)
	}
	return m, nil
}

// AddPack begins or resumes a pack of a bundle whose manifest has been verified, and
// stores that manifest. It returns how many chunks are stored already.
func (s *Store) AddPack(p Pack, m Manifest) (have int, err error) {
	sigs, err := json.Marshal(m.Signatures)
	if err != nil {
		return 0, err
	}
	err = s.update(func(tx *bbolt.Tx) error {
		manifests := tx.Bucket(bucketManifests)
		if err := manifests.Put(payloadKey(p.Bundle), m.Payload); err != nil {
			return err
		}
		if err := manifests.Put(signaturesKey(p.Bundle), sigs); err != nil {
			return err
		}
		b, err := tx.Bucket(bucketPacks).CreateBucketIfNotExists(p.Digest[:])
		if err != nil {
			return err
		}
		if err := b.Put(keyBundle, p.Bundle[:]); err != nil {
			return err
		}
		if err := b.Put(keyIndex, p.Index); err != nil {
			return err
		}
		chunks, err := b.CreateBucketIfNotExists(bucketChunks)
		if err != nil {
			return err
		}
		have = count(chunks)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot store pack %s: %w", p.Digest.Short(), err)
	}
	return have, nil
}

// AddChunks stores chunks first, first+1, … of a pack in one transaction. They have been
// verified, and first is how many there are already.
func (s *Store) AddChunks(pack wire.Digest, first int, chunks [][]byte) error {
	err := s.update(func(tx *bbolt.Tx) error {
		p := tx.Bucket(bucketPacks).Bucket(pack[:])
		if p == nil {
			return wire.ErrNotFound
		}
		b, hashes := p.Bucket(bucketChunks), tx.Bucket(bucketHashes)
		b.FillPercent = 1
		if have := count(b); have != first {
			return fmt.Errorf("chunk %d cannot follow %d chunks", first, have)
		}
		for i, data := range chunks {
			n := binary.BigEndian.AppendUint32(nil, uint32(first+i))
			if err := b.Put(n, data); err != nil {
				return err
			}
			d := wire.DigestOf(data)
			if err := hashes.Put(d[:], append(pack[:len(pack):len(pack)], n...)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot store chunks of pack %s: %w", pack.Short(), err)
	}
	return nil
}

// Packs returns the packs of a bundle in ascending order of digest.
func (s *Store) Packs(bundle wire.Digest) (packs []Pack, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		all := tx.Bucket(bucketPacks)
		return all.ForEachBucket(func(k []byte) error {
			b := all.Bucket(k)
			if string(b.Get(keyBundle)) == string(bundle[:]) {
				packs = append(packs, Pack{Digest: wire.Digest(k), Bundle: bundle,
					Index: append([]byte(nil), b.Get(keyIndex)...), Chunks: count(b.Bucket(bucketChunks))})
			}
			return nil
		})
	})
	return packs, err
}

// ChunkAt returns chunk i of a pack, or [wire.ErrNotFound].
func (s *Store) ChunkAt(pack wire.Digest, i int) (data []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		data = chunkAt(tx, pack[:], binary.BigEndian.AppendUint32(nil, uint32(i)))
		return nil
	})
	if err == nil && data == nil {
		err = fmt.Errorf("chunk %d of pack %s: %w", i, pack.Short(), wire.ErrNotFound)
	}
	return data, err
}

// Chunk returns the chunk named d from whatever pack holds it, or [wire.ErrNotFound]. It
// was verified when it was stored; a disk that rots is found out by whoever uses it.
func (s *Store) Chunk(d wire.Digest) (data []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		at := tx.Bucket(bucketHashes).Get(d[:])
		if len(at) == len(d)+4 {
			data = chunkAt(tx, at[:len(d)], at[len(d):])
		}
		return nil
	})
	if err == nil && data == nil {
		err = fmt.Errorf("chunk %s: %w", d.Short(), wire.ErrNotFound)
	}
	return data, err
}

func chunkAt(tx *bbolt.Tx, pack, n []byte) []byte {
	p := tx.Bucket(bucketPacks).Bucket(pack)
	if p == nil {
		return nil
	}
	return append([]byte(nil), p.Bucket(bucketChunks).Get(n)...)
}

// Forget removes the chunks of a pack, keeping none: what is stored of it proved wrong.
func (s *Store) Forget(pack wire.Digest) error {
	return s.update(func(tx *bbolt.Tx) error { return drop(tx, map[wire.Digest]bool{pack: true}) })
}

// Retain removes everything about bundles that are not in keep.
func (s *Store) Retain(keep map[wire.Digest]bool) error {
	gone := make(map[wire.Digest]bool)
	var old [][]byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		packs := tx.Bucket(bucketPacks)
		err := packs.ForEachBucket(func(k []byte) error {
			if !keep[wire.Digest(packs.Bucket(k).Get(keyBundle))] {
				gone[wire.Digest(k)] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketManifests).ForEach(func(k, _ []byte) error {
			if !keep[wire.Digest(k[:len(wire.Digest{})])] {
				old = append(old, append([]byte(nil), k...))
			}
			return nil
		})
	})
	if err != nil || len(gone)+len(old) == 0 {
		return err
	}
	err = s.update(func(tx *bbolt.Tx) error {
		for _, k := range old {
			if err := tx.Bucket(bucketManifests).Delete(k); err != nil {
				return err
			}
		}
		return drop(tx, gone)
	})
	if err != nil {
		return fmt.Errorf("cannot remove what is no longer needed: %w", err)
	}
	return nil
}

// drop removes packs and what the index by hash says of them.
func drop(tx *bbolt.Tx, gone map[wire.Digest]bool) error {
	c := tx.Bucket(bucketHashes).Cursor()
	var stale [][]byte // deleting under a cursor would skip entries
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if gone[wire.Digest(v[:len(wire.Digest{})])] {
			stale = append(stale, append([]byte(nil), k...))
		}
	}
	for _, k := range stale {
		if err := tx.Bucket(bucketHashes).Delete(k); err != nil {
			return err
		}
	}
	for d := range gone {
		if tx.Bucket(bucketPacks).Bucket(d[:]) == nil {
			continue
		}
		if err := tx.Bucket(bucketPacks).DeleteBucket(d[:]); err != nil {
			return err
		}
	}
	return nil
}

// count returns how many chunks a bucket holds.
func count(chunks *bbolt.Bucket) int {
	k, _ := chunks.Cursor().Last()
	if len(k) != 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(k)) + 1
}

func payloadKey(bundle wire.Digest) []byte    { return append(bundle[:], 'p') }
func signaturesKey(bundle wire.Digest) []byte { return append(bundle[:], 's') }
