package api

import (
	"net/http"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

func (s *Server) purges(w http.ResponseWriter, r *request) error {
	region, err := queryToken[wire.Region](r, "region")
	if err != nil {
		return err
	}
	app, err := queryToken[wire.App](r, "app")
	if err != nil {
		return err
	}
	views, err := s.Controller.Purges(r.Context(), region, app)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(views))
}

func (s *Server) runPurge(w http.ResponseWriter, r *request) error {
	var q controller.PurgeRequest
	if err := decodeBody(r, &q); err != nil {
		return err
	}
	if _, err := checkName[wire.Region]("region", string(q.Region)); err != nil {
		return err
	}
	if len(q.Selectors) == 0 {
		return badRequest("selectors", "selectors is empty")
	}
	views, err := s.Controller.RunPurge(r.Context(), q, r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, list(views))
}

func (s *Server) audit(w http.ResponseWriter, r *request) error {
	after, err := afterID(r)
	if err != nil {
		return err
	}
	entries, err := s.Controller.Audit(r.Context(), after)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(entries))
}
