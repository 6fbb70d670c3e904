package natsbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/wire"
)

// Headers and codes of the JetStream API.
const (
	headerExpectSeq  = "Nats-Expected-Last-Subject-Sequence"
	headerExpectSubj = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerTTL        = "Nats-TTL"

	codeNoPeers     = 10005
	codeNoMessage   = 10037
	codeWrongSeq    = 10071
	codeIDInProcess = 10158 // a message with this id is being stored
	codeSeqInUse    = 10164 // another write with an expectation about this subject is being stored
)

// apiError is a refusal by the JetStream API.
type apiError struct {
	Code    int    `json:"code"`
	ErrCode int    `json:"err_code"`
	Text    string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", clip(e.Text), e.ErrCode) }

func (e *apiError) passing() bool {
	return e.Code == 503 || e.ErrCode == codeIDInProcess || e.ErrCode == codeSeqInUse
}

func refusedWith(err error, code int) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.ErrCode == code
}

// clip keeps what a server says printable and short.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	return wire.Clip(s)
}

// ack is what a stream answers to a publish.
type ack struct {
	Stream string    `json:"stream"`
	Seq    uint64    `json:"seq"`
	Err    *apiError `json:"error"`
}

// maxAnswer bounds an answer of the API that carries no message.
const maxAnswer = 64 << 10

func parseAck(data []byte, stream string) (uint64, error) {
	if len(data) > maxAnswer {
		return 0, fmt.Errorf("acknowledgement: %w: %d bytes", wire.ErrTooLarge, len(data))
	}
	var a ack
	if err := json.Unmarshal(data, &a); err != nil {
		return 0, fmt.Errorf("acknowledgement: %w", err)
	}
	switch {
	case a.Err != nil:
		return 0, a.Err
	case a.Stream != stream || a.Seq == 0:
		return 0, fmt.Errorf("acknowledgement names stream %q and sequence %d, want %s", clip(a.Stream), a.Seq, stream)
	}
	return a.Seq, nil
}

// stored is a message as the leader of its stream keeps it.
type stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Hdrs    []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// header returns a header of m, or "".
func (m stored) header(name string) string {
	for line := range strings.SplitSeq(string(m.Hdrs), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// parseStored reads the answer of STREAM.MSG.GET; data of more than limit bytes is refused.
func parseStored(data []byte, limit int) (stored, error) {
	if len(data) > 2*limit+maxAnswer {
		return stored{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(data), limit)
	}
	var a struct {
		Message *stored   `json:"message"`
		Err     *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return stored{}, fmt.Errorf("stored message: %w", err)
	}
	switch {
	case a.Err != nil && a.Err.ErrCode == codeNoMessage:
		return stored{}, wire.ErrNotFound
	case a.Err != nil:
		return stored{}, a.Err
	case a.Message == nil || a.Message.Seq == 0:
		return stored{}, errors.New("stored message: is missing")
	case len(a.Message.Data) > limit:
		return stored{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(a.Message.Data), limit)
	}
	return *a.Message, nil
}

// infoPage is what STREAM.INFO says of the subjects of a stream.
type infoPage struct {
	Total int `json:"total"`
	State struct {
		Subjects map[string]uint64 `json:"subjects"`
	} `json:"state"`
	Err *apiError `json:"error"`
}

// maxInfo bounds a page: the server sends at most 100,000 subjects at once, and a
// journal holds one per rollout.
const maxInfo = 16 << 20

func parseInfo(data []byte) (page infoPage, err error) {
	if len(data) > maxInfo {
		return page, fmt.Errorf("stream info: %w: %d bytes", wire.ErrTooLarge, len(data))
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return page, fmt.Errorf("stream info: %w", err)
	}
	if page.Err != nil {
		return page, page.Err
	}
	return page, nil
}

// parseDirect reads the answer of a direct get.
func parseDirect(m *nats.Msg, limit int) ([]byte, error) {
	switch status := m.Header.Get("Status"); {
	case status == "404":
		return nil, wire.ErrNotFound
	case status == "503" || status == "429":
		return nil, &apiError{Code: 503, Text: m.Header.Get("Description")}
	case status != "":
		return nil, fmt.Errorf("direct get: %s %s", clip(status), clip(m.Header.Get("Description")))
	case len(m.Data) > limit:
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(m.Data), limit)
	case m.Header.Get("Nats-Subject") == "":
		return nil, errors.New("direct get: the answer is no stored message")
	}
	return m.Data, nil
}
