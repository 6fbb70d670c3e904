package lab_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// cdn is a stand-in for Fastly's API with one dictionary in use, and for an edge that
// answers with the status which that dictionary says.
type cdn struct {
	*configtest.Fastly
	api, edge *httptest.Server
	// gate holds the next change when it has been done and is not answered yet.
	gate atomic.Pointer[gate]
}

type gate struct{ done chan struct{} }

var dictionary = configtest.DictionaryPath("S1", "D1")

func startCDN(t *testing.T) *cdn {
	t.Helper()
	c := &cdn{Fastly: configtest.NewFastly(configtest.Token)}
	c.SetItems(dictionary, 100, map[string]string{"front": "200", "hand": "made"})
	c.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g := c.gate.Load(); g != nil && r.Method == http.MethodPatch && c.gate.CompareAndSwap(g, nil) {
			c.ServeHTTP(httptest.NewRecorder(), r)
			close(g.done)
			<-r.Context().Done() // nobody hears that it was done
			return
		}
		c.ServeHTTP(w, r)
	}))
	c.edge = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if c.Items(dictionary)["front"] != "200" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(c.api.Close)
	t.Cleanup(c.edge.Close)
	return c
}

// holds reports in what the dictionary differs from a version that was activated, "" if in
// nothing.
func (c *cdn) holds(version, front string) string {
	items := c.Items(dictionary)
	if !strings.HasPrefix(items[config.Mark], version+"-") || items["front"] != front || items["version"] != version || len(items) != 3 {
		return fmt.Sprint(items)
	}
	return ""
}

// An edge dictionary moves with the nodes: in a wave of its own after theirs, confirmed by
// reading it back; a release that does badly there is taken back in both, without an
// operator; and its agent may be killed in the middle of a change.
func TestProviderTarget(t *testing.T) {
	c := startCDN(t)
	token := filepath.Join(t.TempDir(), "fastly.token")
	if err := os.WriteFile(token, []byte(configtest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, lab.Config{
		Regions: []wire.Region{"eu-west", "fastly"}, Agents: 1, Apps: []lab.App{{Name: app, Plane: lab.Builtin}},
		Targets: map[wire.Region]string{"fastly": fmt.Sprintf(
			"%s: {kind: fastly-dictionary, token_file: %s, endpoint: %q, service: S1, dictionary: D1, settle: 300ms, url: %q}\n", app, token, c.api.URL, c.edge.URL)},
	})
	// The front page of a broken release is fine on a node and 500 at the edge.
	for _, b := range []struct{ version, front string }{{"1.0.0", "200"}, {"2.0.0", "500"}, {"3.0.0", "200"}} {
		version, front := b.version, b.front
		dir := bundle(t, version, "version "+version, false)
		items := fmt.Sprintf(`{"front": %q, "version": %q}`, front, version)
		if err := os.WriteFile(filepath.Join(dir, "files", "dictionary.json"), []byte(items), 0o600); err != nil {
			t.Fatal(err)
		}
		publish(t, l, dir)
	}
	const plan = "healthy: 300ms\ndeadline: 1m\non_failure: revert-all\nwaves:\n- regions: [eu-west]\n- regions: [fastly]\n"
	nodeShows := func(version string) bool {
		resp, err := http.Get(l.Nodes[0].URL[app] + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return strings.HasPrefix(resp.Header.Get("X-Ebbgate-Release"), version+"-")
	}

	begin(t, l, app, "1.0.0", plan)
	v := ended(t, t.Context(), l, app, rollout.StatusDone)
	if diff := c.holds("1.0.0", "200"); diff != "" {
		t.Errorf("after the rollout of 1.0.0 the dictionary holds %s", diff)
	}
	nodes, edge := region(t, v, "eu-west"), region(t, v, "fastly")
	if edge.Times.Activated.Before(nodes.Times.Barrier) || edge.Times.Confirmed.IsZero() {
		t.Errorf("the dictionary was activated at %s and confirmed at %s, the nodes' wave ended at %s", edge.Times.Activated, edge.Times.Confirmed, nodes.Times.Barrier)
	}
	agents, err := l.Agents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents {
		if a.Region == "fastly" && a.Report.Apps[app].Plane != "fastly-dictionary" {
			t.Errorf("the target says of itself %+v", a.Report.Apps[app])
		}
	}

	begin(t, l, app, "2.0.0", plan)
	v = ended(t, t.Context(), l, app, rollout.StatusReverted)
	if diff := c.holds("1.0.0", "200"); diff != "" {
		t.Errorf("after 2.0.0 was taken back the dictionary holds %s", diff)
	}
	if !nodeShows("1.0.0") {
		t.Error("the node of the wave before did not go back with it")
	}
	if why := fmt.Sprint(v.Explain); !strings.Contains(why, "probe /: answered 500, want 200") {
		t.Errorf("the reason is not told: %s", why)
	}

	killed := &gate{make(chan struct{})}
	c.gate.Store(killed)
	begin(t, l, app, "3.0.0", plan, "--acknowledge", string(v.Rollout.ID))
	<-killed.done
	l.KillAgent("fastly-1")
	if err := l.StartAgent("fastly-1"); err != nil {
		t.Fatal(err)
	}
	ended(t, t.Context(), l, app, rollout.StatusDone)
	if diff := c.holds("3.0.0", "200"); diff != "" || !nodeShows("3.0.0") {
		t.Errorf("after a kill in the middle of 3.0.0 the dictionary holds %s", diff)
	}

	// What it says of itself on its machine.
	out, err := l.Run(t.Context(), "provider-agent", "status", "-c", filepath.Join(l.Dir(), "agents", "fastly-1", "agent.yaml"))
	if err != nil || !strings.Contains(out, "fastly-dictionary  3.0.0@") {
		t.Errorf("%s %v", out, err)
	}
}
