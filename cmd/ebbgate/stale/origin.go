package stale

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// origin is what the nodes fetch slow pages from. Its answers begin late, and say which
// version of the node's configuration asked.
type origin struct {
	address string
	server  *http.Server

	mu  sync.Mutex
	bad map[string]bool // versions whose probe fails; guarded by mu
}

func startOrigin() (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{address: l.Addr().String(), bad: make(map[string]bool)}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: answerTime}
	go serve(o.server, l)
	return o, nil
}

// serve serves until the server is closed; its listener is ours and open.
func serve(s *http.Server, l net.Listener) {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
}

func (o *origin) close() { o.server.Close() }

// spoil lets a version's probe fail from now on.
func (o *origin) spoil(version string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad[version] = true
}

// ServeHTTP answers /probe/<version> at once, and /<run>/<node>/slow/<time>/<n> after the
// time.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(r.URL.Path, "/")
	if len(part) == 3 && part[1] == "probe" {
		o.mu.Lock()
		bad := o.bad[part[2]]
		o.mu.Unlock()
		if bad {
			http.Error(w, "it turned out to be bad", http.StatusInternalServerError)
		}
		return
	}
	if len(part) != 6 || part[3] != string(slow) {
		http.NotFound(w, r)
		return
	}
	late, err := time.ParseDuration(part[4])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	version := r.Header.Get("X-Version") // of the configuration that asks, at the time it asks
	select {
	case <-r.Context().Done():
		return
	case <-time.After(late):
	}
	_, _ = io.WriteString(w, page(version))
}
