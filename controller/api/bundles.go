package api

import (
	"fmt"
	"net/http"

	"github.com/ebbgate/ebbgate/wire"
)

// MissingRequest asks which blobs are not stored.
type MissingRequest struct {
	Digests []wire.Digest `json:"digests"`
}

// MissingResponse answers it.
type MissingResponse struct {
	Missing []wire.Digest `json:"missing"`
}

// PublishRequest names a bundle by the index of its full pack.
type PublishRequest struct {
	Index wire.Digest `json:"index"`
}

func (s *Server) missingBlobs(w http.ResponseWriter, r *request) error {
	var q MissingRequest
	if err := decodeBody(r, &q); err != nil {
		return err
	}
	missing, err := s.Controller.MissingBlobs(r.Context(), q.Digests)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, MissingResponse{list(missing)})
}

func (s *Server) putBlob(w http.ResponseWriter, r *request) error {
	d, err := pathDigest(r)
	if err != nil {
		return err
	}
	data, err := readBody(r)
	if err != nil {
		return err
	}
	if got := wire.DigestOf(data); got != d {
		return fmt.Errorf("%w: blob %s has the content of %s", wire.ErrInvalid, d.Short(), got.Short())
	}
	if err := s.Controller.PutBlob(r.Context(), d, data); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) publish(w http.ResponseWriter, r *request) error {
	var q PublishRequest
	if err := decodeBody(r, &q); err != nil {
		return err
	}
	if q.Index.IsZero() {
		return badRequest("index", "index is missing")
	}
	info, err := s.Controller.Publish(r.Context(), q.Index, r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, info)
}

func (s *Server) bundles(w http.ResponseWriter, r *request) error {
	app, err := queryToken[wire.App](r, "app")
	if err != nil {
		return err
	}
	bundles, err := s.Controller.Bundles(r.Context(), app)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(bundles))
}

func (s *Server) manifest(w http.ResponseWriter, r *request) error {
	d, err := pathDigest(r)
	if err != nil {
		return err
	}
	payload, err := s.Controller.Manifest(r.Context(), d)
	if err != nil {
		return err
	}
	// Exactly the bytes that were signed: a newline would change the digest.
	w.Header().Set("Content-Type", "application/json")
	w.Write(payload)
	return nil
}

// list makes an empty list be written as [] and not as null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
