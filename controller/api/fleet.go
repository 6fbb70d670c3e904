package api

import (
	"net/http"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// DrainRequest takes an agent out of service or back into it.
type DrainRequest struct {
	Drained bool `json:"drained"`
}

func (s *Server) regions(w http.ResponseWriter, r *request) error {
	views, err := s.Controller.Regions(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(views))
}

func (s *Server) agents(w http.ResponseWriter, r *request) error {
	region, err := queryToken[wire.Region](r, "region")
	if err != nil {
		return err
	}
	views, err := s.Controller.Agents(r.Context(), region)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(views))
}

func (s *Server) enroll(w http.ResponseWriter, r *request) error {
	var q controller.EnrollRequest
	if err := decodeBody(r, &q); err != nil {
		return err
	}
	if _, err := checkName[wire.Region]("region", string(q.Region)); err != nil {
		return err
	}
	if _, err := checkName[wire.AgentID]("agent", string(q.Agent)); err != nil {
		return err
	}
	if q.Key == (wire.PublicKey{}) {
		return badRequest("key", "key is missing")
	}
	e, err := s.Controller.Enroll(r.Context(), q, r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, e)
}

func (s *Server) drain(w http.ResponseWriter, r *request) error {
	region, err := pathToken[wire.Region](r, "region")
	if err != nil {
		return err
	}
	agent, err := pathToken[wire.AgentID](r, "agent")
	if err != nil {
		return err
	}
	var q DrainRequest
	if err := decodeBody(r, &q); err != nil {
		return err
	}
	if err := s.Controller.Drain(r.Context(), region, agent, q.Drained, r.by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) remove(w http.ResponseWriter, r *request) error {
	region, err := pathToken[wire.Region](r, "region")
	if err != nil {
		return err
	}
	agent, err := pathToken[wire.AgentID](r, "agent")
	if err != nil {
		return err
	}
	if err := s.Controller.Remove(r.Context(), region, agent, r.by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
