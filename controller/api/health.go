package api

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPIDocument []byte

func (s *Server) openAPI(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openAPIDocument)
	return nil
}

// healthz says that the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether this controller is the one that leads, and takes commands. It says
// no more, not even who does: anyone may ask.
func (s *Server) readyz(w http.ResponseWriter, r *request) error {
	if _, err := s.Controller.Regions(r.Context()); err != nil {
		return writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": failureOf(err).Code})
	}
	if err := s.Controller.Sure(); err != nil {
		return writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unsure", "reason": failureOf(err).Message})
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
