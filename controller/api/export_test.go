package api

import "time"

// Route is what a test has to know of a route.
type Route struct {
	Method, Path string
	Role         Role
}

// Routes returns the table.
func Routes() (all []Route) {
	for _, rt := range routes {
		all = append(all, Route{rt.method, rt.path, rt.role})
	}
	return all
}

// ReadEvents is the decoder of event streams.
var ReadEvents = readEvents

// SetTimeouts shortens what a request may take.
func (s *Server) SetTimeouts(d time.Duration) { s.http.ReadTimeout, s.http.WriteTimeout = d, d }
