package natsbus

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
)

func TestParseAck(t *testing.T) {
	for _, test := range []struct {
		name, data string
		seq        uint64
		code       int
		ok         bool
	}{
		{"stored", `{"stream":"EG_CTL","seq":7}`, 7, 0, true},
		{"stored before", `{"stream":"EG_CTL","seq":7,"duplicate":true}`, 7, 0, true},
		{"fenced", `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"EG_CTL","seq":0}`, 0, codeWrongSeq, false},
		{"other stream", `{"stream":"EG_BLOB","seq":7}`, 0, 0, false},
		{"no sequence", `{"stream":"EG_CTL"}`, 0, 0, false},
		{"an agent's idea", `hello`, 0, 0, false},
		{"nothing", ``, 0, 0, false},
		{"huge", `{"stream":"` + strings.Repeat("x", maxAnswer) + `"}`, 0, 0, false},
	} {
		seq, err := parseAck([]byte(test.data), wire.StreamControl)
		if seq != test.seq || (err == nil) != test.ok || test.code != 0 && !refusedWith(err, test.code) {
			t.Errorf("%s: %d, %v", test.name, seq, err)
		}
	}
}

func TestPassing(t *testing.T) {
	for _, test := range []struct {
		err         error
		bus, agents bool
	}{
		{wire.ErrDisconnected, true, false},
		{nats.ErrNoResponders, true, true},
		{errNoAnswer, true, true},
		{&apiError{Code: 503, ErrCode: 10008}, true, true},
		{&apiError{Code: 400, ErrCode: codeSeqInUse}, true, true},
		{&apiError{Code: 400, ErrCode: codeWrongSeq}, false, false},
		{wire.ErrNotFound, false, false},
		{errors.New("else"), false, false},
	} {
		if got := passing(test.err); got != test.bus {
			t.Errorf("passing(%v) is %v", test.err, got)
		}
		if got := passingLinked(test.err); got != test.agents {
			t.Errorf("passingLinked(%v) is %v", test.err, got)
		}
	}
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte(`{"stream":"EG_CTL","seq":7}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if seq, err := parseAck(data, wire.StreamControl); (seq == 0) == (err == nil) {
			t.Errorf("sequence %d with error %v", seq, err)
		}
	})
}

func FuzzParseStored(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"eg.ctl.lease","seq":3,"data":"aGVsbG8=","time":"2026-01-02T15:04:05Z"}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Add([]byte(`{"message":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 16
		m, err := parseStored(data, limit)
		if err == nil && (m.Seq == 0 || len(m.Data) > limit) {
			t.Errorf("sequence %d, %d bytes", m.Seq, len(m.Data))
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"total":1,"state":{"subjects":{"eg.journal.app":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = parseInfo(data)
	})
}

func FuzzParseHeartbeat(f *testing.F) {
	f.Add([]byte("7 controller-1"))
	f.Add([]byte("18446744073709551616 x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		holder, fence, err := parseHeartbeat(data)
		if err != nil {
			return
		}
		again, fenceAgain, err := parseHeartbeat(formatHeartbeat(holder, fence))
		if again != holder || fenceAgain != fence || err != nil {
			t.Errorf("%q became %q, %d, %v", data, again, fenceAgain, err)
		}
	})
}

func FuzzParseDirect(f *testing.F) {
	f.Add("404", "Message Not Found", "", []byte(nil))
	f.Add("", "", "eg.want.eu", []byte("want"))
	f.Fuzz(func(t *testing.T, status, description, subject string, data []byte) {
		m := &nats.Msg{Header: nats.Header{"Status": {status}, "Description": {description}, "Nats-Subject": {subject}}, Data: data}
		got, err := parseDirect(m, 16)
		if err == nil && (len(got) > 16 || subject == "" || status != "") {
			t.Errorf("took %q of %q with status %q", got, subject, status)
		}
	})
}
