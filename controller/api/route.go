package api

import (
	"fmt"
	"net/http"

	"github.com/ebbgate/ebbgate/wire"
)

// maxBody bounds the body of every request but a blob's.
const maxBody = 1 << 20

// route is one operation. The table is the whole API: the OpenAPI document is held
// against it by a test.
type route struct {
	method, path string
	role         Role  // lowest that may; RoleNone: anyone, so it must hold no data
	body         int64 // bytes allowed; 0: no body
	serve        func(s *Server, w http.ResponseWriter, r *request) error
}

// request is a request that was let in.
type request struct {
	*http.Request
	by string // name of the token
}

var routes = []route{
	{"GET", "/healthz", RoleNone, 0, (*Server).healthz},
	{"GET", "/readyz", RoleNone, 0, (*Server).readyz},
	{"GET", "/v1/openapi.json", RoleViewer, 0, (*Server).openAPI},

	{"POST", "/v1/blobs/missing", RoleOperator, maxBody, (*Server).missingBlobs},
	{"PUT", "/v1/blobs/{digest}", RoleOperator, wire.MaxBlob, (*Server).putBlob},
	{"GET", "/v1/bundles", RoleViewer, 0, (*Server).bundles},
	{"POST", "/v1/bundles", RoleOperator, maxBody, (*Server).publish},
	{"GET", "/v1/manifests/{digest}", RoleViewer, 0, (*Server).manifest},

	{"POST", "/v1/plan", RoleViewer, maxBody, (*Server).plan},
	{"POST", "/v1/rollouts", RoleOperator, maxBody, (*Server).start},
	{"GET", "/v1/apps", RoleViewer, 0, (*Server).apps},
	{"GET", "/v1/apps/{app}", RoleViewer, 0, (*Server).app},
	{"GET", "/v1/apps/{app}/history", RoleViewer, 0, (*Server).history},
	{"POST", "/v1/apps/{app}/approve", RoleApprover, maxBody, steer("approve")},
	{"POST", "/v1/apps/{app}/promote", RoleApprover, maxBody, steer("promote")},
	{"POST", "/v1/apps/{app}/{command}", RoleOperator, maxBody, (*Server).command},

	{"GET", "/v1/regions", RoleViewer, 0, (*Server).regions},
	{"GET", "/v1/agents", RoleViewer, 0, (*Server).agents},
	{"POST", "/v1/agents", RoleAdmin, maxBody, (*Server).enroll},
	{"PUT", "/v1/regions/{region}/agents/{agent}/drained", RoleOperator, maxBody, (*Server).drain},
	{"DELETE", "/v1/regions/{region}/agents/{agent}", RoleAdmin, 0, (*Server).remove},

	{"GET", "/v1/purges", RoleViewer, 0, (*Server).purges},
	{"POST", "/v1/purges", RoleOperator, maxBody, (*Server).runPurge},

	{"GET", "/v1/events", RoleViewer, 0, (*Server).events},
	{"GET", "/v1/audit", RoleViewer, 0, (*Server).audit},
}

// handler builds the mux from the table.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			s.admit(rt, w, r)
		})
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		s.admit(route{role: RoleViewer, body: maxBody, serve: unknown(mux)}, w, r)
	})
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeFailure(w, &Error{Status: http.StatusForbidden, Code: "cross_origin", Message: "requests from other origins are refused"})
	}))
	return s.logged(strict(origins.Handler(mux)))
}

// unknown answers what no route takes: a method that the path does not have, or a path
// that does not exist.
func unknown(mux *http.ServeMux) func(*Server, http.ResponseWriter, *request) error {
	return func(_ *Server, w http.ResponseWriter, r *request) error {
		for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
			probe := r.Clone(r.Context())
			probe.Method = m
			if _, pattern := mux.Handler(probe); pattern != "/v1/" {
				w.Header().Add("Allow", m)
			}
		}
		if allow := w.Header().Values("Allow"); len(allow) > 0 {
			return &Error{Status: http.StatusMethodNotAllowed, Code: "method", Message: fmt.Sprintf("%s is not allowed here, only %v", r.Method, allow)}
		}
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: fmt.Sprintf("the API has no %.100q", r.URL.Path)}
	}
}
