package controller_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/gate"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// exporter serves the metrics of a fleet's agents, each below its name. Each scrape finds 50
// more requests, and 10 more errors while the agent serves version 2.
type exporter struct {
	fleet *fleet

	mu               sync.Mutex // guards all below
	requests, errors map[wire.AgentID]int
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := wire.AgentID(strings.TrimPrefix(r.URL.Path, "/"))
	a := e.fleet.agents[id]
	if a == nil {
		http.NotFound(w, r)
		return
	}
	a.mu.Lock()
	if run := a.running[edge]; run != nil && run.Version == "2" {
		e.errors[id] += 10
	}
	a.mu.Unlock()
	e.requests[id] += 50
	fmt.Fprintf(w, "# TYPE requests_total counter\nrequests_total %d\n# TYPE errors_total counter\nerrors_total %d\n", e.requests[id], e.errors[id])
}

// prometheus is a real server, and what it needs to be started again.
type prometheus struct {
	t       *testing.T
	binary  string
	dir     string
	address string
	server  *exec.Cmd
	log     bytes.Buffer
}

// newPrometheus configures a server that scrapes the agents every second. Without Prometheus
// the test is skipped, or fails if EBBGATE_REQUIRE_SERVERS=1.
func newPrometheus(t *testing.T, exporter string, agents []wire.AgentID) *prometheus {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &prometheus{t: t, binary: binary, dir: t.TempDir(), address: listener.Addr().String()}
	must(t, listener.Close())
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: agents\n  static_configs:\n"
	for _, a := range agents {
		config += fmt.Sprintf("  - {targets: [%q], labels: {__metrics_path__: /%s, agent: %s}}\n", strings.TrimPrefix(exporter, "http://"), a, a)
	}
	must(t, os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), []byte(config), 0o600))
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("prometheus: %s", p.log.String())
		}
	})
	return p
}

// start starts the server and waits until it answers.
func (p *prometheus) start() {
	p.t.Helper()
	p.server = exec.Command(p.binary, "--config.file="+filepath.Join(p.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(p.dir, "data"), "--web.listen-address="+p.address, "--log.level=warn")
	p.server.Stdout, p.server.Stderr = &p.log, &p.log
	must(p.t, p.server.Start())
	eventually(p.t, func() error {
		resp, err := http.Get("http://" + p.address + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("prometheus answers %s", resp.Status)
		}
		return nil
	})
}

func (p *prometheus) kill() {
	if p.server == nil {
		return
	}
	_ = p.server.Process.Kill() // fails when it is dead already
	_ = p.server.Wait()
	p.server = nil
}

// On a real server: what switched is compared with the rest, a bad error rate takes it back
// with the numbers, and a server that is killed holds the rollout until it is there again.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2", "a3")})
	metrics := httptest.NewServer(&exporter{fleet: f, requests: make(map[wire.AgentID]int), errors: make(map[wire.AgentID]int)})
	t.Cleanup(metrics.Close)
	p := newPrometheus(t, metrics.URL, []wire.AgentID{"a1", "a2", "a3"})
	server, err := gate.NewPrometheus(gate.Config{URL: "http://" + p.address})
	must(t, err)
	f.spec.config = func(cfg *controller.Config) {
		cfg.Gates.Prometheus = map[string]controller.GateSource{"main": server}
	}
	p.start()
	d := f.drive()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")

	g := errorRate()
	g.Query = `sum(rate(errors_total{agent=~"$agents"}[4s])) / sum(rate(requests_total{agent=~"$agents"}[4s]))`
	g.Samples, g.MinSamples = `sum(increase(requests_total{agent=~"$agents"}[4s]))`, 40
	p2 := gated(canary([]wire.Region{ams}), g)
	p2.Waves[0].Steps[0].Bake = wire.Duration(30 * time.Second)
	f.roll(d, f.publish(d, site(edge, "2", "bad", "b")), p2, "reverted")
	f.explains(d, "revert", "gate errors of ams: 0.", "is above the limit of 0.05 over", "samples (at least 40)", "query=sum(rate(errors_total", "max=0.05")

	v3 := f.publish(d, site(edge, "3", "good", "b"))
	p.kill()
	p3 := gated(canary([]wire.Region{ams}), g)
	p3.Waves[0].Steps[0].Bake = wire.Duration(2 * time.Second)
	f.begin(d, controller.StartRequest{App: edge, Version: "3", Plan: p3, Acknowledge: f.last(d).ID})
	h := f.waits(d, ams, rollout.HoldGate, "prometheus main gives no answer: query: dial tcp "+p.address+": connect: connection refused")
	if h.Deadline.Sub(h.Since) != p3.Deadline.Std() {
		t.Errorf("the hold has a deadline in %s, want that of the plan", h.Deadline.Sub(h.Since))
	}
	p.start()
	f.ends(d, v3, "done")
	f.explains(d, "gate errors of ams passes after step 1: 0, at most 0.05 over", "samples (at least 40); the rest is at 0")
}
