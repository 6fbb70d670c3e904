package tags_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/varnish/varnishtest"
	"github.com/ebbgate/ebbgate/controller/bundle"
	"github.com/ebbgate/ebbgate/wire"
)

// examples are the purge rules of the README's bundles.
func examples(t *testing.T) (rules [][]cdn.Rule) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```yaml\n(# bundle.yaml\n.*?)```").FindAllSubmatch(readme, -1) {
		spec, err := bundle.ParseSpec(m[1])
		if err != nil {
			t.Fatal(err)
		}
		var r []cdn.Rule
		for _, p := range spec.Purge {
			r = append(r, cdn.Rule(p))
		}
		rules = append(rules, r)
	}
	if len(rules) != 2 {
		t.Fatalf("the README has %d examples", len(rules))
	}
	return rules
}

// The README's first law: an epoch in a key and a glob that not every change matches leave
// answers behind.
func TestExamplesKeepTheirOwnRule(t *testing.T) {
	for _, rules := range examples(t) {
		for _, r := range rules {
			if epoch := strings.Contains(strings.Join(r.Selectors, " "), "{epoch}"); epoch != (r.Files == "**") {
				t.Errorf("%+v", r)
			}
		}
	}
}

// The README's configuration of a node is one that the agent takes.
func TestExampleOfANode(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(# agent.yaml\n.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README shows no agent.yaml")
	}
	var node struct {
		Apps map[wire.App]dataplane.Config `yaml:"apps"`
	}
	d := yaml.NewDecoder(bytes.NewReader(m[1]))
	d.KnownFields(true)
	if err := d.Decode(&node); err != nil {
		t.Fatal(err)
	}
	cfg := node.Apps["shop"]
	cfg.App, cfg.Region, cfg.Dir, cfg.Current = "shop", "eu-west", t.TempDir(), "/current"
	if _, err := dataplane.New(cfg); err != nil {
		t.Error(err)
	}
}

// cached is a data plane behind a real Varnish.
type cached struct {
	t      *testing.T
	base   string
	active atomic.Pointer[tags.Active]
	purger cdn.Purger
}

func newCached(t *testing.T) *cached {
	t.Helper()
	c := &cached{t: t}
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := tags.Of(r.Context())
		w.Header().Set("Surrogate-Key", "shop-prices shop-rules@"+string(a.Region)+"-"+a.Epoch.String())
		w.Header().Set("Cache-Control", "max-age=3600")
		io.WriteString(w, a.Generation)
	})
	srv := httptest.NewServer(tags.Handler(answers, c.active.Load))
	t.Cleanup(srv.Close)
	host, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.base = varnishtest.Start(t, varnishtest.Config{Token: token,
		VCL: `backend origin { .host = "` + host + `"; .port = "` + port + `"; }`})
	c.purger = newPurger(t, c.base)
	return c
}

func (c *cached) activate(epoch wire.Epoch) {
	g := wire.Generation{App: "shop", Region: "eu-west", Epoch: epoch}
	c.active.Store(&tags.Active{Identity: tags.Identity{App: g.App, Region: g.Region, Epoch: epoch, Generation: g.String()}})
}

// get returns the generation that the cache answers with, and whether it had the answer.
func (c *cached) get(path string) (generation string, stored bool) {
	c.t.Helper()
	res, err := http.Get(c.base + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if got := res.Header.Get(tags.HeaderGeneration); got != string(body) {
		c.t.Errorf("%s: the header says %q, the body %q", path, got, body)
	}
	return string(body), len(strings.Fields(res.Header.Get("X-Varnish"))) == 2 // of a hit: its own number, and that of the fetch
}

func (c *cached) want(path, generation string, stored bool) {
	c.t.Helper()
	if g, s := c.get(path); g != generation || s != stored {
		c.t.Errorf("%s is of %s, stored %v; want %s, %v", path, g, s, generation, stored)
	}
}

func (c *cached) purge(selectors []cdn.Selector) {
	c.t.Helper()
	if _, err := c.purger.Purge(c.t.Context(), cdn.Request{Scope: "eu-west", Selectors: selectors}); err != nil {
		c.t.Fatal(err)
	}
}

// A purge by the old generation's tag, repeated, finds what came late and spares what is
// fresh. A plain key, the control, takes the fresh answer with it.
func TestRepeatedPurgeSparesWhatIsFresh(t *testing.T) {
	vars := cdn.Vars{"app": "shop", "region": "eu-west", "epoch": "16", "version": "1.4.0"}
	for i, rules := range examples(t) {
		old, err := cdn.Select(rules, []string{"rules/a"}, vars)
		if err != nil {
			t.Fatal(err)
		}
		both, err := cdn.Select(rules, []string{"prices/a", "rules/a"}, vars)
		if err != nil {
			t.Fatal(err)
		}
		c := newCached(t)
		c.activate(16)
		c.want("/fresh", "shop.eu-west-16", false)
		c.activate(17)
		c.want("/fresh", "shop.eu-west-16", true)
		c.purge(old)
		c.want("/fresh", "shop.eu-west-17", false)
		// An answer that was on its way during the purge, or a node that is late.
		c.activate(16)
		c.want("/late", "shop.eu-west-16", false)
		c.activate(17)
		c.want("/late", "shop.eu-west-16", true)
		c.purge(old)
		c.want("/late", "shop.eu-west-17", false)
		c.want("/fresh", "shop.eu-west-17", true)
		c.purge(old)
		c.want("/late", "shop.eu-west-17", true)
		c.want("/fresh", "shop.eu-west-17", true)
		c.purge(both)
		c.want("/fresh", "shop.eu-west-17", i == 0) // the second example purges prices by a plain key
	}
}

// The key that the README puts in front of @tags@ is what its rule purges.
func TestKeyOfOneOwnInATemplate(t *testing.T) {
	const own = "shop-rules@@region@-@epoch@ @tags@"
	readme, err := os.ReadFile("README.md")
	if err != nil || !strings.Contains(string(readme), own) {
		t.Fatalf("the README does not have %s, %v", own, err)
	}
	selectors, err := cdn.Select(examples(t)[1], []string{"any"}, cdn.Vars{"app": "shop", "region": "eu-west", "epoch": "16", "version": "1.4.0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range reloaded {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, name)
			s.edit = func(snippet string) string { return strings.ReplaceAll(snippet, "@tags@", own) }
			r := s.release(16, "1.4.0")
			s.activate(r)
			want := selectors[0].Value + " " + strings.Join(r.Identity().Tags(), " ")
			for path, origin := range map[string]string{s.missing: "", "/denied": "", "/api/keyed": " pages page-1"} {
				if got := s.mustAsk("GET", path).header.Get("Surrogate-Key"); got != want+origin {
					t.Errorf("%s: Surrogate-Key %q, want %q", path, got, want+origin)
				}
			}
		})
	}
}
