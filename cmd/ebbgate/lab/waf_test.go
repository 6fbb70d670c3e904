package lab_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/varnish/varnishtest"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

const (
	crsRules  = "/usr/share/modsecurity-crs/rules"
	crsSetup  = "/etc/modsecurity/crs/crs-setup.conf"
	modsecLib = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so"
)

// seen is one answer that a client got from a region's cache.
type seen struct {
	asked  time.Time // before the request was sent
	status int
	epoch  wire.Epoch
	hit    bool // from the cache
}

// client asks a region's Varnish for one URL over and over, and never retries.
type client struct {
	url string

	mu      sync.Mutex // guards answers and failed
	answers []seen
	failed  error
}

func (c *client) run(stop <-chan struct{}) {
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		s := seen{asked: time.Now()}
		resp, err := hc.Get(c.url)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		var gen wire.Generation
		if err == nil {
			// A blocked request is answered by nginx too, so it shows its generation as well.
			gen, err = wire.ParseGeneration(resp.Header.Get("X-Ebbgate-Gen"))
		}
		c.mu.Lock()
		if err != nil {
			c.failed = err
		} else {
			s.status, s.epoch = resp.StatusCode, gen.Epoch
			s.hit = len(strings.Fields(resp.Header.Get("X-Varnish"))) == 2
			c.answers = append(c.answers, s)
		}
		c.mu.Unlock()
	}
}

// The OWASP core rule set, a real and large configuration, goes to real nginx instances
// behind a real Varnish that keeps what it is given for an hour. Version 1 lacks the
// rules against SQL injection.
func TestWAF(t *testing.T) {
	for _, path := range []string{crsRules, crsSetup, modsecLib} {
		if _, err := os.Stat(path); err != nil {
			if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	if _, err := exec.LookPath("varnishd"); err != nil && os.Getenv("EBBGATE_REQUIRE_SERVERS") != "1" {
		t.Skip(err)
	}
	const waf wire.App = "waf"
	const token = "varnish-token-of-the-waf-test"
	regions := []wire.Region{"eu-west", "us-east"}
	address := make(map[wire.Region]string)
	var groups []string
	for _, r := range regions {
		address[r] = servertest.FreeAddress(t)
		groups = append(groups, fmt.Sprintf("%s: [http://%s]", r, address[r]))
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	attack := "/?id=" + url.QueryEscape("1 UNION SELECT password FROM users")
	l := start(t, lab.Config{
		Regions: regions, Agents: 2, Apps: []lab.App{{Name: waf, Plane: lab.Nginx}},
		Providers: fmt.Sprintf("varnish: {kind: varnish, token_file: %s, groups: {%s}}\n", tokenFile, strings.Join(groups, ", ")),
		CDN: func(r wire.Region) string {
			return fmt.Sprintf(`cdn:
- {provider: varnish, scope: %s}
probes:
- {app: waf, name: varnish-%[1]s, url: "http://%s/"}
`, r, address[r])
		},
	})
	for _, r := range regions {
		varnishtest.Start(t, varnishtest.Config{Address: address[r], Token: token, VCL: backends(l, r, waf)})
	}

	publish(t, l, crsBundle(t, "1.0.0", "REQUEST-942-APPLICATION-ATTACK-SQLI.conf"))
	publish(t, l, crsBundle(t, "2.0.0", ""))
	begin(t, l, waf, "1.0.0", "healthy: 200ms\ndeadline: 1m\nwaves:\n- regions: [eu-west, us-east]\n")
	ended(t, t.Context(), l, waf, rollout.StatusDone)

	clients := make(map[wire.Region]*client)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range regions {
		c := &client{url: "http://" + address[r] + attack}
		clients[r] = c
		wg.Go(func() { c.run(stop) })
	}
	if err := waitAnswers(clients, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	begin(t, l, waf, "2.0.0", "healthy: 500ms\ndeadline: 1m\nwaves:\n- {regions: [eu-west], bake: 1s}\n- regions: [us-east]\n")
	v := ended(t, t.Context(), l, waf, rollout.StatusDone)
	after := time.Now()
	if err := waitAnswers(clients, after.Add(500*time.Millisecond)); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()

	for _, r := range regions {
		s, c := region(t, v, r), clients[r]
		if c.failed != nil {
			t.Errorf("%s: a request failed: %v", r, c.failed)
		}
		var before, hits, blocked, stale int
		for _, a := range c.answers {
			switch {
			case a.asked.Before(s.Times.Activated.Add(-500 * time.Millisecond)): // whose answer came before it
				before++
				if a.hit {
					hits++
				}
				if a.status != http.StatusOK {
					t.Errorf("%s: the attack was answered %d before the region's activation", r, a.status)
				}
			case a.asked.After(s.Times.Barrier):
				if a.epoch < s.Epoch || a.status != http.StatusForbidden {
					stale++
				} else {
					blocked++
				}
			}
		}
		t.Logf("%s: %d answers before the activation (%d from the cache), %d blocked and %d stale after the barrier; activated %s, confirmed %s, barrier %s after the start",
			r, before, hits, blocked, stale, s.Times.Activated.Sub(began).Round(time.Millisecond), s.Times.Confirmed.Sub(began).Round(time.Millisecond), s.Times.Barrier.Sub(began).Round(time.Millisecond))
		if hits == 0 {
			t.Errorf("%s: nothing was cached before its activation, so the purge proves nothing", r)
		}
		if blocked == 0 || stale > 0 {
			t.Errorf("%s: %d answers from before the barrier were given after it, %d fresh ones", r, stale, blocked)
		}
	}
	if eu, us := region(t, v, "eu-west"), region(t, v, "us-east"); us.Times.Activated.Before(eu.Times.Barrier) {
		t.Errorf("us-east was activated at %s, before the barrier of eu-west at %s", us.Times.Activated, eu.Times.Barrier)
	}
}

// waitAnswers waits until every client has asked after a time.
func waitAnswers(clients map[wire.Region]*client, after time.Time) error {
	deadline := time.Now().Add(10 * time.Second)
	for _, r := range wire.Keys(clients) {
		c := clients[r]
		for {
			c.mu.Lock()
			done := len(c.answers) > 0 && c.answers[len(c.answers)-1].asked.After(after)
			c.mu.Unlock()
			if done {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s: no answer since %s: %v", r, after, c.failed)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// backends is the VCL that spreads a region's requests over its nodes. What passes is
// kept for an hour.
func backends(l *lab.Lab, r wire.Region, app wire.App) string {
	var declare, add string
	for i, n := range l.Nodes {
		if n.Region != r {
			continue
		}
		host, port, _ := strings.Cut(strings.TrimPrefix(n.URL[app], "http://"), ":")
		declare += fmt.Sprintf("backend n%d { .host = %q; .port = %q; }\n", i, host, port)
		add += fmt.Sprintf("nodes.add_backend(n%d);\n", i)
	}
	return "import directors;\n" + declare + `
sub vcl_init { new nodes = directors.round_robin(); ` + add + ` }
sub vcl_recv { set req.backend_hint = nodes.backend(); }
sub vcl_backend_response { if (beresp.status == 200) { set beresp.ttl = 1h; } }
`
}

// crsBundle writes a bundle of the rule set as Debian ships it, without one file.
func crsBundle(t *testing.T, version, without string) string {
	t.Helper()
	dir := t.TempDir()
	files := filepath.Join(dir, "files")
	copyFile(t, crsSetup, filepath.Join(files, "crs", "crs-setup.conf"))
	rules, err := os.ReadDir(crsRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range rules {
		if f.Name() != without {
			copyFile(t, filepath.Join(crsRules, f.Name()), filepath.Join(files, "crs", "rules", f.Name()))
		}
	}
	for name, text := range map[string]string{
		"bundle.yaml": fmt.Sprintf(`app: waf
version: %q
limits: {files: 200, bytes: 8000000, growth: 2}
probes:
- {path: /, status: 200}
purge:
- {files: "crs/**", selectors: ["key:waf"]}
`, version),
		"files/main.conf":       "SecRuleEngine On\nSecRequestBodyAccess On\nInclude crs/crs-setup.conf\nInclude crs/rules/*.conf\n",
		"files/site/index.html": "<p>behind the firewall\n",
		"files/nginx.conf": `load_module ` + modsecLib + `;
# The workers are root's because a test's temporary directory is root's alone.
user root;
worker_processes 1;
events { worker_connections 512; }
http {
	access_log off;
	default_type text/html;
	server {
		listen @listen@;
		include @ebbgate@;
		modsecurity on;
		modsecurity_rules_file @release@/main.conf;
		root @release@/site;
		location / {
			include @headers@;
			add_header Surrogate-Key waf;
			add_header Cache-Control max-age=3600;
		}
	}
}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
