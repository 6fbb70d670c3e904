package dataplane

import (
	"context"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Release is a bundle materialised on this node, about to be or being served.
type Release struct {
	App     wire.App
	Region  wire.Region
	Epoch   wire.Epoch
	Digest  wire.Digest
	Version wire.Version
	// Dir is the absolute path of the immutable directory of this very release, never a
	// path through `current`: a server that re-opens a file by name must not find the
	// bytes of another release behind it.
	Dir    string
	Probes []wire.Probe
	Hooks  []string // names of hooks of this node's own configuration, in order
}

// ID returns "<version>-<first 12 digits of the digest>@<epoch>": what Confirm reads
// back from the data plane, and what the header X-Ebbgate-Release shows. The epoch is
// part of it, so that a rollback to older content is told apart from that content's
// first time.
func (r Release) ID() string {
	return string(r.Version) + "-" + r.Digest.Short() + "@" + r.Epoch.String()
}

// Generation returns what the header X-Ebbgate-Gen shows.
func (r Release) Generation() wire.Generation {
	return wire.Generation{App: r.App, Region: r.Region, Epoch: r.Epoch}
}

// Traits say what the rest of the agent has to know of a data plane.
type Traits struct {
	Name     string        // "builtin", "files", "nginx"
	Version  string        // of the server software; "" when there is none to ask
	DropFree bool          // a switch loses no request, not even on kept-alive connections
	Arms     bool          // Arm preloads, so that Activate is one switch
	URL      string        // where the data plane answers on this node, without trailing slash; "": nowhere known
	Look     time.Duration // how long a Confirm may take; default five seconds, ten after a return
}

// String returns "nginx/1.22.1", or the name alone: the plane of a report.
func (t Traits) String() string {
	if t.Version == "" {
		return t.Name
	}
	return t.Name + "/" + t.Version
}

// Declared returns the traits as a report names them, in ascending order.
func (t Traits) Declared() (names []string) {
	if t.Arms {
		names = append(names, wire.TraitArms)
	}
	if t.DropFree {
		names = append(names, wire.TraitDropFree)
	}
	return names
}

// Restorer is a driver of something that was in use before its first release. Where a
// change is taken back and there is no release to go back to, the agent calls Restore
// instead of Activate, until it succeeds.
type Restorer interface {
	Restore(ctx context.Context) error
}

// Driver makes one kind of server software serve a release. It serves one app.
//
// The caller owns the order of side effects: it has switched the app's `current` link
// and stamped the release's modification times before Activate, and it calls Confirm
// and Check after it. Methods may be called from several goroutines; a driver runs
// them one after the other where they touch the same state.
//
// Errors say what went wrong without naming the app ("nginx -t: unknown directive
// …"); the caller puts "cannot activate edge-proxy 1.4.0: " before them.
type Driver interface {
	Traits() Traits
	// Validate asks the data plane's own validator about the release, and touches
	// nothing that serves. It is called for releases that may never be activated.
	Validate(ctx context.Context, r Release) error
	// Arm preloads the release where the software can; without that it does nothing, and
	// a release that validates is as armed as it can be. Arming another release forgets
	// the one armed before.
	Arm(ctx context.Context, r Release) error
	// Activate switches to the release, and runs the hooks it names. It need not be armed.
	// Activating the active release again is harmless, and is how a data plane that died
	// with the agent is brought back: call it once after New. Reverting is activating
	// the older release. An error that wraps [wire.ErrDisconnected] says that nothing was
	// changed: the same is tried again later. Any other takes the release back.
	Activate(ctx context.Context, r Release) error
	// Confirm reads the release's ID and generation back from the data plane, on fresh
	// connections, until all of several in a row show it, or ctx ends; without a deadline
	// in ctx the driver sets one. evidence is for people, at most a line.
	Confirm(ctx context.Context, r Release) (evidence string, err error)
	// Check sends the release's probes, each once.
	Check(ctx context.Context, r Release) error
	// Close lets go of the data plane, within ten seconds. It stops a server the driver
	// has started, and no other. It is idempotent.
	Close() error
}
