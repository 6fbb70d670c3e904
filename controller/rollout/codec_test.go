package rollout

import (
	"reflect"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

func everyEvent() []Event {
	index := uint64(7)
	return []Event{
		Tick{epoch0},
		Members{epoch0, "eu", []Member{{"eu-1", false}, {"eu-2", true}}},
		Reported{epoch0, "eu", "eu-1", epoch0, 1, 2, 3, "1.0", []wire.AgentID{"eu-1", "eu-2"}, wire.AppReport{Plane: "nginx/1.22.1", Running: &wire.Running{Epoch: 1, Digest: bundle("1.0").Digest, State: wire.StateConfirmed}}},
		Start{epoch0, "r1", "kim", "seed", bundle("1.0"), DefaultPlan([]wire.Region{"eu"}), &index, "kim", "r0", "r00", &Emergency{"fire", epoch0}},
		Approve{epoch0, "lee", Of{"r1", 2, 1}}, Promote{epoch0, "lee", Of{"r1", 2, 1}}, StepBack{epoch0, "lee", Of{Rollout: "r1"}},
		Measured{epoch0, "eu", 2, "errors", 3, Sample{ptr(0.5), ptr(10)}, Sample{Value: ptr(1)}, true, VerdictPass, "fine", "no"},
		Pause{epoch0, "kim", Of{}}, Resume{epoch0, "kim", Of{}}, Abort{epoch0, "kim", true, Of{}}, Undo{epoch0, "u1", "kim", Of{}},
		PurgeVerified{epoch0, "eu", 2, 1, "it has no CDN", "seen"}, PurgeUnverified{epoch0, "eu", 2, 1, true, "no answer"}, PurgeFailed{epoch0, "eu", 2, 1, "no route"},
	}
}

func ptr(f float64) *float64 { return &f }

func TestEventCodec(t *testing.T) {
	for _, e := range everyEvent() {
		data, err := EncodeEvent(e)
		if err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		got, err := DecodeEvent(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !reflect.DeepEqual(e, got) {
			t.Errorf("%+v became %+v", e, got)
		}
	}
	for _, bad := range []string{``, `{}`, `{"kind":"tock","event":{}}`, `{"kind":"tick","event":{"when":1}}`, `{"kind":"tick"}`} {
		if e, err := DecodeEvent([]byte(bad)); err == nil {
			t.Errorf("%s is taken as %+v", bad, e)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, e := range everyEvent() {
		data, err := EncodeEvent(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEvent(data)
		if err != nil {
			return
		}
		if _, err := EncodeEvent(e); err != nil {
			return // a time JSON cannot write
		}
		Step(State{Record: Record{App: "a"}}, e)
	})
}
