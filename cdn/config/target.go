package config

import (
	"context"
	"io/fs"
	"net/http"
	"time"
)

// Mark is the name under which a target keeps which release it holds: a key of a
// dictionary or store, part of a description, a snippet. No release may use it.
const Mark = "ebbgate-release"

// Target is one thing at a provider, reached through one account. Calls make one
// attempt each and return an [*Error]; the [Keeper] decides about repeating. A
// Keeper makes one call at a time.
type Target interface {
	// Name says to people which thing it is: "dictionary 4y5K of service SU1Z".
	Name() string
	Limits() Limits
	// Load takes from a release's files what the target is to hold, and refuses what the
	// provider would not take, naming file and rule. It sends nothing.
	Load(files fs.FS) (Content, error)
	// Read returns what is there now. With keys, even none of them, the items of those are
	// enough, more do no harm; nil means all. A target that holds nothing yet is empty, one that does not exist an error.
	Read(ctx context.Context, keys []string) (State, error)
	// Same reports whether have, of a Read, is what was asked for with want.
	Same(key, have, want string) bool
	// Stage brings what is wanted to the provider as far as that changes nothing that
	// serves, and lets the provider validate it. It returns want, with Version set where
	// the provider keeps versions. Staging the same again is free.
	Stage(ctx context.Context, want State, c Content) (State, error)
	// Write carries out a batch. It may have done a part when it fails.
	Write(ctx context.Context, b Batch) error
}

// Limits say what a target takes and how it behaves.
type Limits struct {
	Batch  int           // changes of one Write, the mark counted; 0: all changes are one Write
	Bytes  int           // of keys and values of one Write; 0: no limit
	Items  int           // in all, the mark counted; 0: no limit
	Settle time.Duration // until a change is everywhere, by the provider's documentation
	Hold   time.Duration // how long a Write waits on purpose
	Keeps  bool          // it can leave items alone that no release names
	Stages bool          // Stage uploads, so that Write is one switch
	// Immutable: its versions do not change once they have served, so that going back to
	// one is possible. They show [Release].Content, which is the same every time.
	Immutable bool
}

// State is what a target holds, the mark apart.
type State struct {
	Release string            // what the mark says; "": there is none
	Version string            // the provider's name of it, where it keeps versions
	Items   map[string]string // key → value, in a form of the target's own
	Hidden  int               // items that are no release's, not in Items, and count to Limits.Items
	Lossy   map[string]bool   // key → its value is no text, so that writing it would not put it back
}

// Content is what a release wants.
type Content struct {
	Items map[string]string // key → value, as in State
	Files map[string][]byte // path → what a target uploads beside its items
}

// Change sets an item, or deletes it.
type Change struct {
	Key    string
	Value  string
	Delete bool
}

// Batch is a part of the way to Want.
type Batch struct {
	Changes []Change
	// Last says that the mark is written too, after the changes. An empty Want.Release
	// removes it.
	Last    bool
	Have    State // as it was read before the first batch
	Want    State
	Content Content
	// Check asks the places that serve the target whether it does well, with headers
	// that a target may need to reach a part of them. It is never nil.
	Check func(context.Context, http.Header) error
}

// Release is what a target is to hold.
type Release struct {
	ID      string // shown by targets that can: "1.4.0-0123456789ab@17"
	Content string // names the content alone: "1.4.0-0123456789ab"
	Files   fs.FS
	// Check is Batch.Check. Default: there is nothing to ask.
	Check func(context.Context, http.Header) error
}

// shows returns what the mark is to say.
func (r Release) shows(l Limits) string {
	if l.Immutable {
		return r.Content
	}
	return r.ID
}
