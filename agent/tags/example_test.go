package tags_test

import (
	"net/http"

	"github.com/ebbgate/ebbgate/agent/tags"
)

// A file server whose answers all name the release they come from. The app's data plane
// is of kind files, with confirm_url http://127.0.0.1:8080/.well-known/ebbgate.
func ExampleHandler() {
	active := tags.Open("/var/lib/ebbgate/apps/shop/plane/active.json").Active
	site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dir := tags.Of(r.Context()).Dir // never .../current
		w.Header().Set("CDN-Cache-Control", "max-age=3600")
		http.FileServer(http.Dir(dir+"/site")).ServeHTTP(w, r)
	})
	_ = http.ListenAndServe("127.0.0.1:8080", tags.Handler(site, active))
}
