package apihttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/cdn"
)

// envelope is every answer of Cloudflare's API.
type envelope struct {
	Success bool `json:"success"`
	Errors  []struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	Result     json.RawMessage `json:"result"`
	ResultInfo struct {
		Cursor string `json:"cursor"`
	} `json:"result_info"` // of a list
}

// Cloudflare decodes the result in Cloudflare's answer to the call into result, which may
// be nil, and returns where the next page of a list begins, "" after the last. err is what
// the library returned, which matters only where there was no answer. A failure wraps the
// [CloudflareCode] of the first complaint.
func (c Call) Cloudflare(err error, result any) (cursor string, failed *cdn.Error) {
	var e envelope
	said := Said{}
	if c.Answer.Status != 0 {
		ok := c.Answer.Status/100 == 2
		decodeErr := json.Unmarshal(c.Answer.Body, &e)
		switch {
		case !ok && len(c.Answer.Body) == 0: // the status says it all
		case decodeErr != nil:
			said.Message = "the answer is not the JSON it should be"
		case ok && e.Success:
			if result == nil || json.Unmarshal(e.Result, result) == nil {
				return e.ResultInfo.Cursor, nil
			}
			said.Message = "the answer has a result of another kind"
		default:
			said = e.said(c.Answer.Status)
		}
		err = nil // it repeats URL and body of the answer
	} else if err == nil {
		err = errors.New("no answer")
	}
	failed = c.Failure(err, said)
	if failed.Err == nil && len(e.Errors) > 0 {
		failed.Err = CloudflareCode(e.Errors[0].Code)
	}
	return "", failed
}

// CloudflareCode is a number of Cloudflare's own, for errors.Is.
type CloudflareCode int

func (c CloudflareCode) Error() string { return fmt.Sprintf("code %d", int(c)) }

const (
	noRoute      CloudflareCode = 7003  // no such account or zone
	invalidToken CloudflareCode = 9109  // or one that is not allowed this
	authFailed   CloudflareCode = 10000 // authentication error
)

// said reads what a complaint says, which may come with HTTP 200.
func (e envelope) said(status int) Said {
	if len(e.Errors) == 0 {
		return Said{Message: "the answer has neither success nor an error"}
	}
	var texts []string
	for _, entry := range e.Errors {
		text := entry.Message
		if entry.Code != 0 {
			text = strings.TrimSpace(fmt.Sprintf("%d %s", entry.Code, text))
		}
		if text != "" { // else the status speaks
			texts = append(texts, text)
		}
	}
	s := Said{Message: strings.Join(texts, "; ")}
	switch CloudflareCode(e.Errors[0].Code) {
	case noRoute:
		s.Class = cdn.NotFound
	case invalidToken, authFailed:
		s.Class = cdn.Auth
	default:
		if status/100 == 2 {
			s.Class = cdn.Refused
		}
	}
	return s
}
