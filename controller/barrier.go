package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// BarrierView is how far a region's barrier has come at one target of its CDN, in the newest
// purge. A state is the least advanced of all its selectors; empty: not begun, or not needed.
type BarrierView struct {
	Region   wire.Region `json:"region"`
	Provider string      `json:"provider"`
	Scope    string      `json:"scope"`
	Tier     int         `json:"tier"`
	Optional bool        `json:"optional,omitempty"` // nobody waits for it
	Epoch    wire.Epoch  `json:"epoch"`

	Fence  cdn.State `json:"fence,omitempty"` // "accepted": it stands, unless NoFence says otherwise
	First  cdn.State `json:"first,omitempty"` // of the purge
	Second cdn.State `json:"second,omitempty"`

	NoFence string `json:"no_fence,omitempty"` // why the target has none to raise

	Selectors int    `json:"selectors"`            // of the purge
	Repeats   int    `json:"repeats,omitempty"`    // further purges because a vantage point saw stale content
	LastError string `json:"last_error,omitempty"` // of the newest attempt that failed
	// LeftBehind is why an optional target has not taken the purge. The next one asks it again.
	LeftBehind string `json:"left_behind,omitempty"`

	// PausedUntil is when an account that is rate-limited is asked again at the soonest.
	PausedUntil time.Time `json:"paused_until,omitzero"`

	Sent     time.Time      `json:"sent,omitzero"`      // when the first purge left
	Evidence []cdn.Evidence `json:"evidence,omitempty"` // what the vantage points saw
}

// barriers returns the barriers of an app's regions, by region and tier.
func (c *Controller) barriers(s rollout.State) []BarrierView {
	type place struct {
		region, provider, scope string
		epoch                   uint64
	}
	purges := make(map[place][]cdn.Entry)
	for _, e := range c.outbox.List(cdn.Filter{App: string(s.App)}) {
		at := place{e.Item.Region, e.Item.Provider, e.Item.Scope, e.Item.Epoch}
		purges[at] = append(purges[at], e)
	}
	var all []BarrierView
	for _, r := range wire.Keys(s.Regions) {
		p := s.Regions[r].Purge
		if p == nil {
			continue
		}
		targets := slices.Clone(c.cfg.Regions[r].CDN)
		slices.SortStableFunc(targets, func(a, b CDNTarget) int { return cmp.Compare(a.Tier, b.Tier) })
		for _, t := range targets {
			v := BarrierView{Region: r, Provider: t.Provider, Scope: t.Scope, Tier: t.Tier, Optional: t.Optional, Epoch: p.Epoch}
			for _, e := range purges[place{string(r), t.Provider, t.Scope, uint64(p.Epoch)}] {
				v.take(e, p.Round)
			}
			if v.Optional && (lags(v.Fence) || lags(v.First) || lags(v.Second)) {
				v.LeftBehind = v.LastError
			}
			all = append(all, v)
		}
	}
	return all
}

// leftBehind returns the targets of the app's regions that were left behind.
func (c *Controller) leftBehind(s rollout.State) []BarrierView {
	return slices.DeleteFunc(c.barriers(s), func(b BarrierView) bool { return b.LeftBehind == "" })
}

// take counts an outbox entry in if it is of the round.
func (v *BarrierView) take(e cdn.Entry, round int) {
	n := e.Item.Round - 1 - (round-1)*roundsPerEffect // from 0: first, second, first of a repeat, …
	if n < 0 || n >= roundsPerEffect {
		return
	}
	state := &v.First
	switch {
	case e.Item.Selector.Kind == cdn.Fence:
		state, v.NoFence = &v.Fence, e.Skipped
	case n%2 == 1:
		state = &v.Second
	case n == 0:
		v.Selectors++
	}
	if *state == "" || behind(e.State) < behind(*state) {
		*state = e.State
	}
	v.Repeats = max(v.Repeats, n/2)
	if e.LastError != "" {
		v.LastError = e.LastError
	}
	if e.Reason != "" {
		v.LastError = e.Reason
	}
	if e.Item.Selector.Kind != cdn.Fence && !e.SentAt.IsZero() && (v.Sent.IsZero() || e.SentAt.Before(v.Sent)) {
		v.Sent = e.SentAt
	}
	if e.PausedUntil.After(v.PausedUntil) {
		v.PausedUntil = e.PausedUntil
	}
	if len(e.Evidence) > 0 {
		v.Evidence = e.Evidence
	}
}

// behind orders states by how far they are.
func behind(s cdn.State) int {
	return slices.Index([]cdn.State{cdn.StateRefused, cdn.StateIntended, cdn.StateSent, cdn.StateAccepted, cdn.StateVerified}, s)
}

// lags reports whether a target was asked and has not said yes.
func lags(s cdn.State) bool { return s != "" && behind(s) < behind(cdn.StateAccepted) }
