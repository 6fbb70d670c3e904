package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// maxSocket is the longest path a Unix socket can have on Linux.
const maxSocket = 107

// Status is what a running agent says of itself on the node.
type Status struct {
	Report *wire.Report          `json:"report"`
	Behind uint64                `json:"behind,omitempty"` // sequence a beacon told of that has not arrived
	Beacon time.Time             `json:"beacon,omitzero"`  // when the last beacon came
	Plan   map[wire.App][]string `json:"plan"`             // app → what the agent is about to do, and why
}

// listen opens the control socket. Without it the agent still does its work.
func (a *Agent) listen() (serve func(context.Context) error, err error) {
	path := a.cfg.Socket()
	if len(path) > maxSocket {
		a.cfg.Logger.Warn("no control socket: its path is too long", "path", path, "limit", maxSocket)
		return func(context.Context) error { return nil }, nil
	}
	// The lock on the database says that nobody else uses it.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.cfg.Logger.Warn("no control socket", "err", err)
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		a.cfg.Logger.Warn("no control socket", "err", err)
		return func(context.Context) error { return nil }, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", a.serveStatus)
	mux.HandleFunc("POST /rollback", a.serveRollback)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	return func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { srv.Close() })
		defer stop()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.cfg.Logger.Warn("control socket closed", "err", err)
		}
		return nil
	}, nil
}

func (a *Agent) serveStatus(rw http.ResponseWriter, _ *http.Request) {
	s := Status{Report: a.report(0), Plan: make(map[wire.App][]string)}
	for _, w := range a.apps {
		s.Plan[w.name] = w.plan()
	}
	a.orders.mu.Lock()
	s.Behind, s.Beacon = a.orders.behind, a.orders.beaconAt
	a.orders.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(s) // the client has gone
}

func (a *Agent) serveRollback(rw http.ResponseWriter, r *http.Request) {
	name := wire.App(r.URL.Query().Get("app"))
	for _, w := range a.apps {
		if w.name != name {
			continue
		}
		answer := make(chan error, 1)
		select {
		case w.undo <- answer:
		case <-r.Context().Done():
			return
		}
		select {
		case err := <-answer:
			if err != nil {
				http.Error(rw, err.Error(), http.StatusConflict)
			}
		case <-r.Context().Done():
		}
		return
	}
	http.Error(rw, fmt.Sprintf("no app %q on this node", name), http.StatusNotFound)
}

// AskStatus asks the agent behind a control socket how it is.
func AskStatus(ctx context.Context, socket string) (*Status, error) {
	body, err := ask(ctx, socket, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	s := new(Status)
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("cannot read the agent's answer: %w", err)
	}
	return s, nil
}

// AskRollback makes the agent behind a control socket go back to the release before the
// running one, and stay there until an epoch above all it has seen is ordered. It needs
// no network.
func AskRollback(ctx context.Context, socket string, app wire.App) error {
	_, err := ask(ctx, socket, http.MethodPost, "/rollback?app="+url.QueryEscape(string(app)))
	return err
}

func ask(ctx context.Context, socket, method, path string) ([]byte, error) {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("no agent answers on %s: %w", socket, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(string(body[:max(0, len(body)-1)]))
	}
	return body, nil
}
