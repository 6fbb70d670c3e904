package tags_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/varnish"
)

const token = "a-token-of-the-test"

// newPurger purges the Varnish at base by ebbgate.vcl.
func newPurger(t *testing.T, base string) cdn.Purger {
	t.Helper()
	p, err := varnish.New(varnish.Config{Groups: map[string][]string{"eu-west": {base}}, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A Varnish that is a data plane stores answers: after a switch they are what they were,
// header and body, until they are purged by the old tag; a repeat spares what is fresh.
func TestVarnishKeepsWhatItHasStoredWhole(t *testing.T) {
	s := newSite(t, "varnish")
	shipped, err := os.ReadFile("../varnish/ebbgate.vcl")
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.dir+"/ebbgate.token", token)
	s.write(s.dir+"/ebbgate.vcl", strings.ReplaceAll(string(shipped), "/etc/varnish/ebbgate.token", s.dir+"/ebbgate.token"))
	pass := `	if (req.url == "/page") { return (pass); }`
	if !strings.Contains(s.routes, pass) {
		t.Fatal("the routes have changed")
	}
	s.routes = `include "` + s.dir + `/ebbgate.vcl";` + strings.Replace(s.routes, pass, "", 1)
	one, two := s.release(1, "1.4.0"), s.release(2, "1.4.1")
	holds := func(when string, r dataplane.Release, stored bool) {
		t.Helper()
		a := s.mustAsk("GET", "/page")
		hit := strings.HasPrefix(a.header.Get("Cache-Status"), "Varnish; hit; ttl=")
		if a.body != string(r.Version) || a.header.Get("X-Ebbgate-Gen") != r.Identity().Generation || hit != stored {
			t.Errorf("%s: %q of %q, %q; want %s of %s, stored %v", when, a.body, a.header.Get("X-Ebbgate-Gen"),
				a.header.Get("Cache-Status"), r.Version, r.Identity().Generation, stored)
		}
		// A cache in front of this one needs the tags as much.
		if err := shows(a.header, r); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	s.activate(one)
	holds("first", one, false)
	holds("again", one, true)
	s.activate(two)
	holds("after the switch", one, true)
	old := cdn.Request{Scope: "eu-west", Selectors: []cdn.Selector{{Kind: cdn.Key, Value: "gen:shop.eu-west-1"}}}
	purger := newPurger(t, "http://"+s.addr)
	for round, stored := range []bool{false, true} {
		if _, err := purger.Purge(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		holds("after purge "+string(rune('1'+round)), two, stored)
	}
}

// The switch is done when the old configurations are cleared away: one that cannot be is no
// reason to take the release back.
func TestReloadVarnishSwitchesWhatItCannotClearAway(t *testing.T) {
	for _, tc := range []struct {
		fails string
		ok    bool
	}{
		{"vcl.load", false},
		{"vcl.use", false},
		{"vcl.discard", true},
	} {
		dir := t.TempDir()
		fake := "#!/bin/sh\necho \"$1\" >>" + dir + "/asked\n[ \"$1\" != " + tc.fails + " ] || exit 1\n" +
			"[ \"$1\" != vcl.list ] || printf 'active auto warm 0 ebbgate-2-1\navailable auto warm 0 ebbgate-1-1\navailable auto warm 0 ebbgate-1-2\n'\n"
		if err := os.WriteFile(dir+"/varnishadm", []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("./reload-varnish", dir+"/varnish.vcl")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "EBBGATE_EPOCH=2")
		out, err := cmd.CombinedOutput()
		if (err == nil) != tc.ok {
			t.Errorf("%s fails: %v: %s", tc.fails, err, out)
		}
		asked, err := os.ReadFile(dir + "/asked")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(asked), "vcl.discard"); tc.ok && (n != 2 || strings.Count(string(out), "cannot discard") != 2) {
			t.Errorf("%d discarded, said %q; want a try and a warning for each of two", n, out)
		}
	}
}

// A 304 brings back the headers of the stored answer, our tags among them: they are
// replaced, not gathered.
func TestVarnishReplacesItsTagsWhenTheOriginConfirms(t *testing.T) {
	s := newSite(t, "varnish")
	one, two := s.release(1, "1.4.0"), s.release(2, "1.4.1")
	s.activate(one)
	if err := shows(s.mustAsk("GET", "/api/short").header, one, "pages", "page-1"); err != nil {
		t.Error(err)
	}
	s.activate(two)
	end := time.Now().Add(10 * time.Second)
	for {
		err := shows(s.mustAsk("GET", "/api/short").header, two, "pages", "page-1")
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if n := s.confirmed.Load(); n == 0 {
		t.Error("the origin was never asked whether the answer still holds")
	}
}
