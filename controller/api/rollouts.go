package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func (s *Server) plan(w http.ResponseWriter, r *request) error {
	q, err := startRequest(r)
	if err != nil {
		return err
	}
	view, err := s.Controller.Plan(r.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, view)
}

func (s *Server) start(w http.ResponseWriter, r *request) error {
	q, err := startRequest(r)
	if err != nil {
		return err
	}
	view, err := s.Controller.Start(r.Context(), q, r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, view)
}

func startRequest(r *request) (controller.StartRequest, error) {
	var body struct {
		controller.StartRequest
		Plan json.RawMessage `json:"plan"`
	}
	if err := decodeBody(r, &body); err != nil {
		return body.StartRequest, err
	}
	q := body.StartRequest
	if len(body.Plan) > 0 && string(body.Plan) != "null" { // a plan means the same in a file and in a request
		p, err := rollout.ParsePlan("plan", body.Plan)
		if err != nil {
			return q, refusedBody(err)
		}
		q.Plan = &p
	}
	if _, err := checkName[wire.App]("app", string(q.App)); err != nil {
		return q, err
	}
	if (q.Version == "") == q.Digest.IsZero() {
		return q, badRequest("version", "exactly one of version and digest names the bundle")
	}
	return q, nil
}

// commands are those of [controller.Commands] that an operator may give. The others have
// routes of their own.
var commands = []string{"pause", "resume", "step-back", "abort", "abort-all", "undo"}

func (s *Server) command(w http.ResponseWriter, r *request) error {
	name := r.PathValue("command")
	if !slices.Contains(commands, name) {
		return &Error{Status: http.StatusNotFound, Code: "not_found", Field: "command", Message: "command is not one of " + strings.Join(commands, ", ")}
	}
	return steer(name)(s, w, r)
}

// steer makes what a route does that gives one command.
func steer(name string) func(*Server, http.ResponseWriter, *request) error {
	return func(s *Server, w http.ResponseWriter, r *request) error {
		app, err := pathToken[wire.App](r, "app")
		if err != nil {
			return err
		}
		var of rollout.Of
		if r.ContentLength != 0 {
			if err := decodeBody(r, &of); err != nil {
				return err
			}
		}
		view, err := s.Controller.Command(r.Context(), app, name, of, r.by)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, view)
	}
}

func (s *Server) apps(w http.ResponseWriter, r *request) error {
	views, err := s.Controller.Apps(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(views))
}

func (s *Server) app(w http.ResponseWriter, r *request) error {
	app, err := pathToken[wire.App](r, "app")
	if err != nil {
		return err
	}
	view, err := s.Controller.App(r.Context(), app)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, view)
}

func (s *Server) history(w http.ResponseWriter, r *request) error {
	app, err := pathToken[wire.App](r, "app")
	if err != nil {
		return err
	}
	rollouts, err := s.Controller.History(r.Context(), app)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(rollouts))
}
