package rollout

import "github.com/ebbgate/ebbgate/wire"

// ParsePlan reads a plan from YAML or JSON. name is for the error.
func ParsePlan(name string, data []byte) (Plan, error) { return Plan{}, nil }

// Step takes an event into account.
func Step(s State, e Event) (State, []Effect) { return s, nil }

// Check reports why a command (Start, Pause, Resume, Abort, Undo) cannot be taken in s.
func Check(s State, e Event) error { return nil }

// Pending returns every effect that s does not know to be done.
func Pending(s State) []Effect { return nil }

// OrderFor returns what the region is to be told.
func OrderFor(s State, r wire.Region) wire.Order { return wire.Order{} }

// Explain tells the decisions of the rollout as sentences.
func Explain(s State) []string { return nil }

// EncodeEvent returns the JSON of an event: {"kind":"tick","now":…}.
func EncodeEvent(e Event) ([]byte, error) { return nil, nil }

// DecodeEvent reads what EncodeEvent wrote.
func DecodeEvent(data []byte) (Event, error) { return nil, nil }

// ID implements [Effect].
func (e Publish) ID() string { return "publish/" + string(e.App) + "/" + string(e.Region) }

// ID implements [Effect].
func (e Purge) ID() string { return "purge" }

// ID implements [Effect].
func (e Decide) ID() string { return "decide" }
