package tags

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
)

type key struct{}

// Of returns the release that a request below [Handler] is answered from, and nil outside
// of one.
func Of(ctx context.Context) *Active {
	a, _ := ctx.Value(key{}).(*Active)
	return a
}

// Handler answers from next, and shows on each answer the release that source returned
// when the request came: a [File]'s Active, or whatever the program has loaded. next finds
// the same release with [Of], and must take its content from there. [IdentityPath] is
// answered here. Without a release every answer is 503: what carries no tags could not be
// purged.
func Handler(next http.Handler, source func() *Active) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := source()
		switch {
		case a == nil:
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "no release is active", http.StatusServiceUnavailable)
		case r.URL.Path == IdentityPath:
			a.Show(w.Header())
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.Write(a.JSON())
		default:
			s := &shower{ResponseWriter: w, active: a}
			next.ServeHTTP(s, r.WithContext(context.WithValue(r.Context(), key{}, a)))
			s.show() // an answer without a body may never have been begun
		}
	})
}

// shower shows the release at the last moment before the header is sent: what next sets
// before stays, what next would overwrite does not.
type shower struct {
	http.ResponseWriter
	active *Active
	shown  bool
}

func (s *shower) show() {
	if !s.shown {
		s.shown = true
		s.active.Show(s.Header())
	}
}

// WriteHeader shows the release with the final status; 103 Early Hints and the like come
// before it.
func (s *shower) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		s.show()
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *shower) Write(p []byte) (int, error) {
	s.show()
	return s.ResponseWriter.Write(p)
}

// ReadFrom keeps sendfile.
func (s *shower) ReadFrom(r io.Reader) (int64, error) {
	s.show()
	return io.Copy(s.ResponseWriter, r)
}

// Flush and Hijack are for libraries that ask for the interface and know nothing of
// [http.ResponseController].
func (s *shower) Flush() { _ = s.FlushError() }

func (s *shower) FlushError() error {
	s.show()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *shower) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(s.ResponseWriter).Hijack()
}

// Unwrap gives [http.ResponseController] the way to deadlines.
func (s *shower) Unwrap() http.ResponseWriter { return s.ResponseWriter }
