package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// admit lets a request in if its token's role may use the route, bounds its body, and
// answers its error.
func (s *Server) admit(rt route, w http.ResponseWriter, r *http.Request) {
	req := &request{Request: r}
	if rt.role > RoleNone {
		scheme, presented, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		name, role := s.Tokens.Lookup(presented)
		if !strings.EqualFold(scheme, "Bearer") || role == RoleNone {
			w.Header().Set("WWW-Authenticate", `Bearer realm="ebbgate"`)
			writeFailure(w, &Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "a valid token is required"})
			return
		}
		if role < rt.role {
			writeFailure(w, &Error{Status: http.StatusForbidden, Code: "forbidden",
				Message: "token " + name + " has the role " + role.String() + ", this needs " + rt.role.String()})
			return
		}
		req.by = name
	}
	r.Body = http.MaxBytesReader(w, r.Body, rt.body)
	if err := rt.serve(s, w, req); err != nil {
		e := failureOf(err)
		if e.Status >= http.StatusInternalServerError {
			s.Log.Warn("request failed", "method", r.Method, "path", r.URL.Path, "by", req.by, "error", err)
		}
		writeFailure(w, e)
	}
}

// strict sets the headers that keep a browser from doing anything with an answer but
// showing it. The page replaces the content security policy with its own.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// logged writes one line for each request at debug. Headers and queries are left out.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.Log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		start, seen := time.Now(), &status{w, http.StatusOK}
		next.ServeHTTP(seen, r)
		s.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", seen.code, "took", time.Since(start))
	})
}

// status remembers the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
