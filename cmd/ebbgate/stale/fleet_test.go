package stale

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/varnish/varnishtest"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/overlay"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// The regions, and the nodes whose agents fall silent or are drained in the scenario of
// late agents. Both are the second of their region, which answers /<run>/b/….
var (
	regions  = []wire.Region{"eu-north", "us-west", "sa-east"}
	silenced = lab.Node{Region: "sa-east", ID: "sa-east-2"}
	drained  = lab.Node{Region: "eu-north", ID: "eu-north-2"}
)

// fleet is everything that runs. Scenarios follow each other on it.
type fleet struct {
	lab    *lab.Lab
	api    *api.Client
	origin *origin
	doors  *doors
	sites  []site
	out    string // directory; a file <region> in it takes the region's second node out of rotation
	dir    string // of the programs
	runs   int
}

// startFleet starts a fleet that ends with the test. Its programs are built into dir.
func startFleet(t *testing.T) *fleet {
	t.Helper()
	requireServers(t)
	f := &fleet{out: t.TempDir(), dir: t.TempDir()}
	f.build(t, "", "../", "../../ebbgate-agent")
	var err error
	if f.origin, err = startOrigin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.origin.close)
	if f.doors, err = openDoors(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.doors.close)
	var groups []string
	for _, r := range regions {
		s := site{r, make(map[tier]string)}
		for _, at := range tiers {
			s.caches[at] = servertest.FreeAddress(t)
			f.doors.lead(r, at, s.caches[at])
			groups = append(groups, fmt.Sprintf("%s-%s: [%q]", at, r, f.doors.url(r, at)))
		}
		f.sites = append(f.sites, s)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	f.lab, err = lab.Start(t.Context(), lab.Config{
		Dir: t.TempDir(), Ebbgate: f.program(""), Agent: filepath.Join(f.dir, "ebbgate-agent"),
		Regions: regions, Agents: len(nodesOfASite), Apps: []lab.App{{Name: app, Plane: lab.Nginx}},
		Lost:      5 * time.Second, // two cores are busy while the caches are asked
		Providers: fmt.Sprintf("varnish: {kind: varnish, token_file: %s, groups: {%s}}\n", tokenFile, strings.Join(groups, ", ")),
		CDN:       f.targets,
	})
	t.Cleanup(func() {
		if f.lab == nil {
			return
		}
		f.lab.Close()
		if t.Failed() {
			if err := f.lab.Logs(t.Output()); err != nil {
				t.Log(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.sites {
		varnishtest.Start(t, varnishtest.Config{Address: s.caches[shield], Token: token, Memory: "64m", VCL: f.shieldVCL(s.region)})
		varnishtest.Start(t, varnishtest.Config{Address: s.caches[edge], Token: token, Memory: "64m", VCL: edgeVCL(s.caches[shield])})
	}
	admin, err := os.ReadFile(filepath.Join(f.lab.Dir(), "controller", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	f.api, err = api.NewClient(api.ClientConfig{Server: f.lab.Controllers[0].URL(), Token: strings.TrimSpace(string(admin))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.api.Close)
	return f
}

// requireServers skips the test without real servers, unless they have to be there.
func requireServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a whole fleet takes too long for -short")
	}
	for _, name := range []string{"varnishd", "nginx"} {
		_, err := exec.LookPath(name)
		if err != nil {
			_, err = exec.LookPath("/usr/sbin/" + name)
		}
		if err != nil && os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatal(err)
		}
		if err != nil {
			t.Skip(err)
		}
	}
}

// targets is a region's cdn section of controller.yaml.
func (f *fleet) targets(r wire.Region) string {
	var b strings.Builder
	b.WriteString("cdn:\n")
	for i, at := range tiers {
		fmt.Fprintf(&b, "- {provider: varnish, scope: %s-%s, tier: %d}\n", at, r, i)
	}
	for _, s := range f.sites {
		if s.region == r {
			fmt.Fprintf(&b, "probes:\n- {app: %s, name: edge-%s, url: \"http://%s/vantage/a/hot/0\"}\n", app, r, s.caches[edge])
		}
	}
	return b.String()
}

// shieldVCL pins every page to one of the two nodes, as a shield that hashes over its
// origins does.
func (f *fleet) shieldVCL(r wire.Region) string {
	var b strings.Builder
	n := 0
	for _, node := range f.lab.Nodes {
		if node.Region == r {
			b.WriteString(backend(nodesOfASite[n:n+1], strings.TrimPrefix(node.URL[app], "http://")))
			n++
		}
	}
	fmt.Fprintf(&b, `sub vcl_recv {
	if (req.url ~ "^/[^/]+/b/" && !std.file_exists(%q)) { set req.backend_hint = b; } else { set req.backend_hint = a; }
}
`, filepath.Join(f.out, string(r)))
	return b.String() + deliverVCL
}

func backend(name, address string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf("backend %s { .host = %q; .port = %q; }\n", name, host, port)
}

func edgeVCL(at string) string { return backend("shield", at) + deliverVCL }

const deliverVCL = `sub vcl_deliver {
	if (obj.hits > 0) { set resp.http.` + cacheHeader + ` = "hit"; } else { set resp.http.` + cacheHeader + ` = "miss"; }
}
`

// rotate takes the second node of a region out of rotation, or puts it back.
func (f *fleet) rotate(t *testing.T, r wire.Region, in bool) {
	t.Helper()
	path := filepath.Join(f.out, string(r))
	err := os.Remove(path)
	if !in {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitTime bounds every wait for the fleet.
const waitTime = 90 * time.Second

// until waits for a condition of the fleet.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(waitTime)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited %s for %s", waitTime, what)
		case <-tick.C:
		}
	}
}

// state returns what the controller says of the app. While it does not answer, that is
// nothing.
func (f *fleet) state(t *testing.T) controller.AppView {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	v, err := f.api.App(ctx, app)
	if err != nil {
		return controller.AppView{}
	}
	return v
}

// waitState waits until the app's state is as wanted.
func (f *fleet) waitState(t *testing.T, what string, done func(controller.AppView) bool) (v controller.AppView) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the state then: %s", strings.Join(v.Explain, "\n"))
		}
	}()
	until(t, what, func() bool {
		v = f.state(t)
		return v.Rollout != nil && done(v)
	})
	return v
}

// run runs an ebbgate command.
func (f *fleet) run(t *testing.T, args ...string) {
	t.Helper()
	if _, err := f.lab.Run(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// start begins a rollout of a version under a plan.
func (f *fleet) start(t *testing.T, version, plan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"rollout", "start", string(app), version, "-f", path}
	for _, q := range f.state(t).Summary.Quarantine {
		args = append(args, "--acknowledge", q.Rollout)
	}
	f.run(t, args...)
}

// publish publishes a version.
func (f *fleet) publish(t *testing.T, version string) {
	t.Helper()
	dir := t.TempDir()
	if err := writeBundle(dir, version, f.origin.address); err != nil {
		t.Fatal(err)
	}
	f.run(t, "publish", dir, "--key", f.lab.Key())
}

// program is the path of ebbgate, or of one with a protection switched off.
func (f *fleet) program(control string) string {
	if control == "" {
		return filepath.Join(f.dir, "ebbgate")
	}
	return filepath.Join(f.dir, control, "ebbgate")
}

// build builds packages, with a protection switched off if control names one.
func (f *fleet) build(t *testing.T, control string, packages ...string) {
	t.Helper()
	args := []string{"build", "-o", filepath.Dir(f.program(control)) + "/"}
	if control != "" {
		args = append(args, "-overlay", overlay.Write(t, "../../..", filepath.Join("testdata", "controls", control+".txt")))
	}
	if out, err := exec.Command("go", append(args, packages...)...).CombinedOutput(); err != nil {
		t.Fatalf("cannot build %v: %v\n%s", packages, err, out)
	}
	if err := lab.Depends("../../../agent", "../../../cdn", "../../../controller", "../../../wire", "../../../cmd"); err != nil {
		t.Fatal(err)
	}
}

// lead lets a controller built from control lead the fleet from now on.
func (f *fleet) lead(t *testing.T, control string) {
	t.Helper()
	if control != "" {
		f.build(t, control, "../")
	}
	f.lab.KillController()
	f.lab.Controllers[0].Program(f.program(control))
	if err := f.lab.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.lab.WaitLive(t.Context(), len(f.lab.Nodes)); err != nil {
		t.Fatal(err)
	}
}
