// Package apitest has a controller for tests of whatever talks to the API: it keeps what
// it is told in memory, verifies bundles for real, and shows a rollout as a film that
// moves on by one picture each time it is looked at, or as the real engine that has stopped
// at a scene. Nothing in it needs a bus, an agent or the passing of time.
package apitest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// Start is when everything in a Fake happened.
var Start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Fake is a controller in memory. It serves the app edge-proxy in the regions eu-west and
// us-east. It is safe for concurrent use.
type Fake struct {
	trust *wire.Trust

	mu      sync.Mutex // guards all below
	err     error
	doubt   error
	changes []string // what was changed, one line each
	blobs   map[wire.Digest][]byte
	bundles []controller.BundleInfo
	payload map[wire.Digest][]byte
	agents  []controller.AgentView
	purges  []controller.PurgeView
	audit   []controller.AuditEntry
	film    []controller.AppView
	scene   *rollout.State // the engine, if one plays
	past    []rollout.Rollout
	events  []controller.Event
	readers map[chan controller.Event]bool
}

// New returns a fake that accepts bundles signed as trust says; nil: none.
func New(trust *wire.Trust) *Fake {
	f := &Fake{trust: trust, blobs: map[wire.Digest][]byte{}, payload: map[wire.Digest][]byte{}, readers: map[chan controller.Event]bool{}}
	for _, r := range regions {
		for i := range 3 {
			f.agents = append(f.agents, controller.AgentView{Agent: wire.AgentID(fmt.Sprintf("%s-%d", r, i+1)), Region: r, Enrolled: Start, Live: true, Reported: Start})
		}
	}
	f.record("controller", "start", "the fake began")
	f.changes = nil
	return f
}

var regions = []wire.Region{"eu-west", "us-east"}

// locked runs get unless calls are to fail.
func locked[T any](f *Fake, get func() (T, error)) (v T, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return v, f.err
	}
	return get()
}

// record notes a change.
func (f *Fake) record(by, kind, text string) {
	e := controller.AuditEntry{ID: uint64(len(f.audit) + 1), At: Start, By: by, Kind: kind, Text: text, Inputs: json.RawMessage(`{"a":"<1>"}`)}
	if n := len(f.audit); n > 0 {
		e.Prev = f.audit[n-1].Hash
	}
	unhashed, err := wire.EncodeJSON(e)
	if err != nil {
		panic(err) // plain data
	}
	e.Hash = wire.DigestOf(unhashed)
	f.audit = append(f.audit, e)
	f.changes = append(f.changes, by+": "+text)
}

// MissingBlobs implements api.Controller, as do all methods below.
func (f *Fake) MissingBlobs(_ context.Context, digests []wire.Digest) ([]wire.Digest, error) {
	return locked(f, func() ([]wire.Digest, error) {
		return slices.DeleteFunc(slices.Clone(digests), func(d wire.Digest) bool { return f.blobs[d] != nil }), nil
	})
}

func (f *Fake) PutBlob(_ context.Context, d wire.Digest, data []byte) error {
	_, err := locked(f, func() (struct{}, error) {
		f.blobs[d] = data
		return struct{}{}, nil
	})
	return err
}

func (f *Fake) Publish(ctx context.Context, index wire.Digest, by string) (controller.BundleInfo, error) {
	return locked(f, func() (info controller.BundleInfo, err error) {
		ix, err := pack.DecodeIndex(f.blobs[index])
		if err != nil {
			return info, err
		}
		payload, err := pack.Reader{Index: ix, Fetch: func(_ context.Context, _ int, d wire.Digest) ([]byte, error) { return f.blobs[d], nil }}.Manifest(ctx)
		if err != nil {
			return info, err
		}
		if f.trust == nil {
			return info, fmt.Errorf("manifest: %w", wire.ErrSignature)
		}
		m, digest, err := f.trust.OpenManifest(payload, ix.Signatures)
		if err != nil {
			return info, err
		}
		info = controller.BundleInfo{App: m.App, Version: m.Version, Digest: digest, Index: index, Files: len(m.Files), Bytes: ix.Content.Size,
			Packed: ix.Content.Packed, Authors: []string{ix.Signatures[0].KeyID}, Published: Start, By: by}
		f.bundles, f.payload[digest] = append(f.bundles, info), payload
		f.record(by, "publish", fmt.Sprintf("published %s %s", m.App, m.Version))
		return info, nil
	})
}

func (f *Fake) Bundles(_ context.Context, app wire.App) ([]controller.BundleInfo, error) {
	return locked(f, func() ([]controller.BundleInfo, error) {
		return slices.DeleteFunc(slices.Clone(f.bundles), func(b controller.BundleInfo) bool { return app != "" && b.App != app }), nil
	})
}

func (f *Fake) Manifest(_ context.Context, d wire.Digest) ([]byte, error) {
	return locked(f, func() ([]byte, error) {
		if f.payload[d] == nil {
			return nil, fmt.Errorf("%w: no bundle %s is published", controller.ErrNotFound, d.Short())
		}
		return f.payload[d], nil
	})
}

func (f *Fake) Sure() error {
	_, err := locked(f, func() (struct{}, error) { return struct{}{}, f.doubt })
	return err
}

func (f *Fake) Regions(context.Context) ([]controller.RegionView, error) {
	return locked(f, func() (views []controller.RegionView, err error) {
		for _, r := range regions {
			views = append(views, controller.RegionView{Region: r, Agents: 3, Live: 3, Apps: map[wire.App]controller.Held{}, CDN: []controller.CDNTarget{{Provider: "cache", Scope: string(r)}}})
		}
		return views, nil
	})
}

func known(r wire.Region) error {
	if r != "" && !slices.Contains(regions, r) {
		return fmt.Errorf("%w: region %q is not configured", controller.ErrNotFound, r)
	}
	return nil
}

func (f *Fake) Agents(_ context.Context, region wire.Region) ([]controller.AgentView, error) {
	return locked(f, func() ([]controller.AgentView, error) {
		return slices.DeleteFunc(slices.Clone(f.agents), func(a controller.AgentView) bool { return region != "" && a.Region != region }), known(region)
	})
}

func (f *Fake) Enroll(_ context.Context, r controller.EnrollRequest, by string) (controller.Enrolment, error) {
	return locked(f, func() (e controller.Enrolment, err error) {
		if err := known(r.Region); err != nil {
			return e, err
		}
		for _, a := range f.agents {
			if a.Agent == r.Agent {
				return e, fmt.Errorf("%w: agent %s is enrolled with another key", controller.ErrConflict, r.Agent)
			}
		}
		f.agents = append(f.agents, controller.AgentView{Agent: r.Agent, Region: r.Region, Enrolled: Start})
		f.record(by, "enroll", fmt.Sprintf("enrolled %s in %s", r.Agent, r.Region))
		e = controller.Enrolment{Region: r.Region, Agent: r.Agent, Creds: "-----BEGIN NATS USER JWT-----\n", Servers: []string{"nats://127.0.0.1:4222"},
			GossipKey: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", Seeds: []string{"127.0.0.1:7946"}}
		if f.trust != nil {
			e.Root = f.trust.Envelope()
		}
		return e, nil
	})
}

func (f *Fake) Drain(_ context.Context, region wire.Region, agent wire.AgentID, drained bool, by string) error {
	_, err := locked(f, func() (struct{}, error) {
		for i := range f.agents {
			if a := &f.agents[i]; a.Region == region && a.Agent == agent {
				a.Drained = drained
				f.record(by, "drain", fmt.Sprintf("drained %s in %s: %t", agent, region, drained))
				return struct{}{}, nil
			}
		}
		return struct{}{}, fmt.Errorf("%w: no agent %s is enrolled in %s", controller.ErrNotFound, agent, region)
	})
	return err
}

func (f *Fake) Remove(_ context.Context, region wire.Region, agent wire.AgentID, by string) error {
	_, err := locked(f, func() (struct{}, error) {
		for i, a := range f.agents {
			if a.Region == region && a.Agent == agent {
				f.agents = slices.Delete(f.agents, i, i+1)
				f.record(by, "remove", fmt.Sprintf("removed %s from %s", agent, region))
				return struct{}{}, nil
			}
		}
		return struct{}{}, fmt.Errorf("%w: no agent %s is enrolled in %s", controller.ErrNotFound, agent, region)
	})
	return err
}

func (f *Fake) Purges(_ context.Context, region wire.Region, _ wire.App) ([]controller.PurgeView, error) {
	return locked(f, func() ([]controller.PurgeView, error) { return slices.Clone(f.purges), known(region) })
}

func (f *Fake) RunPurge(_ context.Context, r controller.PurgeRequest, by string) ([]controller.PurgeView, error) {
	return locked(f, func() (views []controller.PurgeView, err error) {
		if err := known(r.Region); err != nil {
			return nil, err
		}
		for _, text := range r.Selectors {
			s, err := cdn.ParseSelector(text)
			if err != nil {
				return nil, fmt.Errorf("%w: %v", controller.ErrInvalid, err)
			}
			sum := sha256.Sum256([]byte(text))
			views = append(views, controller.PurgeView{ID: cdn.ID(fmt.Sprintf("%x", sum[:16])), State: cdn.StateIntended,
				Item: cdn.Item{Provider: "cache", Scope: string(r.Region), Region: string(r.Region), Selector: s, Round: 1}})
			f.record(by, "purge", "purged "+text+" in "+string(r.Region))
		}
		f.purges = append(f.purges, views...)
		return views, nil
	})
}

func (f *Fake) Events(ctx context.Context, after uint64) (<-chan controller.Event, error) {
	return locked(f, func() (<-chan controller.Event, error) {
		ch := make(chan controller.Event, 1024)
		for _, e := range f.events {
			if after > 0 && e.ID > after {
				ch <- e
			}
		}
		f.readers[ch] = true
		context.AfterFunc(ctx, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.readers[ch] {
				delete(f.readers, ch)
				close(ch)
			}
		})
		return ch, nil
	})
}

func (f *Fake) Audit(_ context.Context, after uint64) ([]controller.AuditEntry, error) {
	return locked(f, func() ([]controller.AuditEntry, error) {
		return slices.Clone(f.audit[min(after, uint64(len(f.audit))):]), nil
	})
}
