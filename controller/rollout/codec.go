package rollout

import (
	"encoding/json"
	"fmt"

	"github.com/ebbgate/ebbgate/wire"
)

// MaxEvent bounds an encoded event: the longest lists the agents of a region.
const MaxEvent = 4 << 20

// kindOf names the kinds of event in their encoding.
func kindOf(e Event) string {
	switch e.(type) {
	case Tick:
		return "tick"
	case Members:
		return "members"
	case Reported:
		return "reported"
	case Start:
		return "start"
	case Pause:
		return "pause"
	case Resume:
		return "resume"
	case Approve:
		return "approve"
	case Promote:
		return "promote"
	case StepBack:
		return "step-back"
	case Measured:
		return "measured"
	case Abort:
		return "abort"
	case Undo:
		return "undo"
	case PurgeVerified:
		return "purge-verified"
	case PurgeUnverified:
		return "purge-unverified"
	case PurgeFailed:
		return "purge-failed"
	}
	panic(fmt.Sprintf("rollout: unknown event %T", e))
}

type encodedEvent struct {
	Kind  string          `json:"kind"`
	Event json.RawMessage `json:"event"`
}

// EncodeEvent returns an event as JSON, for replay: {"kind":"tick","event":{"now":…}}.
func EncodeEvent(e Event) ([]byte, error) {
	body, err := wire.EncodeJSON(e)
	if err != nil {
		return nil, err
	}
	return wire.EncodeJSON(encodedEvent{kindOf(e), body})
}

// DecodeEvent reads what [EncodeEvent] wrote.
func DecodeEvent(data []byte) (Event, error) {
	var ee encodedEvent
	if err := wire.DecodeJSON("event", MaxEvent, data, &ee); err != nil {
		return nil, err
	}
	switch ee.Kind {
	case "tick":
		return decodeAs[Tick](ee.Event)
	case "members":
		return decodeAs[Members](ee.Event)
	case "reported":
		return decodeAs[Reported](ee.Event)
	case "start":
		return decodeAs[Start](ee.Event)
	case "pause":
		return decodeAs[Pause](ee.Event)
	case "resume":
		return decodeAs[Resume](ee.Event)
	case "approve":
		return decodeAs[Approve](ee.Event)
	case "promote":
		return decodeAs[Promote](ee.Event)
	case "step-back":
		return decodeAs[StepBack](ee.Event)
	case "measured":
		return decodeAs[Measured](ee.Event)
	case "abort":
		return decodeAs[Abort](ee.Event)
	case "undo":
		return decodeAs[Undo](ee.Event)
	case "purge-verified":
		return decodeAs[PurgeVerified](ee.Event)
	case "purge-unverified":
		return decodeAs[PurgeUnverified](ee.Event)
	case "purge-failed":
		return decodeAs[PurgeFailed](ee.Event)
	}
	return nil, &wire.FieldError{Doc: "event", Field: "kind", Reason: fmt.Sprintf("is %q, not a kind of event", ee.Kind)}
}

func decodeAs[E Event](data []byte) (Event, error) {
	var e E
	if err := wire.DecodeJSON("event", MaxEvent, data, &e); err != nil {
		return nil, err
	}
	return e, nil
}
