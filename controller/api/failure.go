package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Error is a request that the controller refused.
type Error struct {
	Status  int    `json:"-"`               // HTTP status
	Code    string `json:"code"`            // one word for programs: "not_found", "conflict", …
	Message string `json:"message"`         // one line for people
	Field   string `json:"field,omitempty"` // path of the field that is wrong
}

func (e *Error) Error() string { return e.Message }

// failureBody is how an Error travels.
type failureBody struct {
	Error *Error `json:"error"`
}

// failures lists what each sentinel stands for; the first that matches counts. What a
// command is refused for comes before the conflict that it is, and so does a field of it
// that is wrong.
var failures = []struct {
	is     error
	status int
	code   string
}{
	{controller.ErrNotFound, http.StatusNotFound, "not_found"},
	{rollout.ErrActive, http.StatusConflict, "active"},
	{rollout.ErrNotActive, http.StatusConflict, "not_active"},
	{rollout.ErrMoved, http.StatusConflict, "moved"},
	{rollout.ErrUndo, http.StatusConflict, "nothing_to_undo"},
	{rollout.ErrStatus, http.StatusConflict, "status"},
	{rollout.ErrQuarantine, http.StatusConflict, "quarantine"},
	{wire.ErrInvalid, http.StatusUnprocessableEntity, "invalid_document"},
	{controller.ErrConflict, http.StatusConflict, "conflict"},
	{controller.ErrStandby, http.StatusServiceUnavailable, "standby"},
	{controller.ErrDeposed, http.StatusServiceUnavailable, "standby"},
	{wire.ErrFenced, http.StatusServiceUnavailable, "standby"},
	{wire.ErrDisconnected, http.StatusServiceUnavailable, "unavailable"},
	{wire.ErrSignature, http.StatusUnprocessableEntity, "signature"},
	{wire.ErrExpired, http.StatusUnprocessableEntity, "expired"},
	{wire.ErrReplay, http.StatusUnprocessableEntity, "replay"},
	{wire.ErrFloor, http.StatusUnprocessableEntity, "floor"},
	{wire.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{controller.ErrInvalid, http.StatusBadRequest, "invalid"},
	{wire.ErrNotFound, http.StatusNotFound, "not_found"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
	{context.Canceled, http.StatusServiceUnavailable, "unavailable"},
}

// failureOf says how err is answered. What no sentinel names is the controller's fault.
func failureOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = &Error{Status: http.StatusInternalServerError, Code: "internal", Message: err.Error()}
	known := false
	for _, f := range failures {
		if !errors.Is(err, f.is) {
			continue
		}
		if !known {
			e.Status, e.Code, known = f.status, f.code, true
		}
		e.Message = strings.TrimPrefix(e.Message, f.is.Error()+": ") // the code says the same
	}
	var fe *wire.FieldError
	if errors.As(err, &fe) {
		e.Field = fe.Field
	}
	return e
}

func badRequest(field, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid", Message: message, Field: field}
}

func writeFailure(w http.ResponseWriter, e *Error) {
	body, err := wire.EncodeJSON(failureBody{e})
	if err != nil {
		body = []byte(`{"error":{"code":"internal","message":"cannot encode the error"}}`)
	}
	write(w, e.Status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := wire.EncodeJSON(v) // no escapes: raw values inside must keep their bytes
	if err != nil {
		return err
	}
	write(w, status, body)
	return nil
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // a reader that has gone is no failure of ours
}
