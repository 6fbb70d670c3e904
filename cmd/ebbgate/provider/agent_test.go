package provider

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/config/configtest"
	"github.com/ebbgate/ebbgate/wire"
)

// serviceInUse is a Fastly whose service was made by hand, and a fleet with it as a target.
func serviceInUse(t *testing.T) (*configtest.Fastly, *fleet) {
	t.Helper()
	remote := configtest.NewFastly(configtest.Token)
	server := httptest.NewServer(remote)
	t.Cleanup(server.Close)
	remote.ChangeService("S1", func(v *configtest.Version) { v.VCL["main"], v.Main = "# hand", "main" })
	return remote, newFleet(t, fmt.Sprintf("  waf: {kind: fastly-service, token_file: token, endpoint: %q, service: S1, settle: 1ns}\n", server.URL))
}

func vcl(text string) map[string]string { return map[string]string{"vcl/main.vcl": text} }

// A version that Fastly does not take is refused while it is staged: no node of the
// region has switched, and nothing that serves has changed.
func TestABadReleaseIsRefusedBeforeItsActivation(t *testing.T) {
	remote, f := serviceInUse(t)
	one := f.order(nil, f.publish("1.0.0", vcl("# one")))
	f.eventually("one", runs(1))
	f.order(&one, f.publish("2.0.0", vcl("set a mistake")))
	f.eventually("refused", ended(2, wire.StateFailed, "cannot stage waf 2.0.0: cannot stage service S1: Fastly does not take version 3: Syntax error"))
	if v, number := remote.ActiveVersion("S1"); number != 2 || v.VCL["main"] != "# one" {
		t.Errorf("version %d serves %q", number, v.VCL["main"])
	}
	for _, call := range remote.Calls() {
		if strings.HasSuffix(call, "/version/3/activate") {
			t.Error("the bad version was activated")
		}
	}
	f.order(&one, f.publish("3.0.0", vcl("# three")))
	f.eventually("three", runs(3))
	if r := f.status(); r.Plane != "fastly-service" || fmt.Sprint(r.Traits) != "[arms drop-free]" {
		t.Errorf("%s %v", r.Plane, r.Traits)
	}
}

// A provider that does not answer is no failure of the release: staging goes on when it
// is back.
func TestAnOutageWhileStaging(t *testing.T) {
	remote, f := serviceInUse(t)
	one := f.order(nil, f.publish("1.0.0", vcl("# one")))
	f.eventually("one", runs(1))
	end := remote.Outage(configtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "60"})
	f.order(&one, f.publish("2.0.0", vcl("# two")))
	f.eventually("staging, with the reason", ended(2, wire.StateStaging, "Service Unavailable"))
	if r := f.status().Running; r.Error != "" || r.Epoch != 1 {
		t.Errorf("what was read back before the outage is held against: %+v", r)
	}
	end()
	f.eventually("two", runs(2))
}

// What somebody changes at the provider is seen by the next look, and repaired.
func TestDriftIsRepaired(t *testing.T) {
	remote, f := serviceInUse(t)
	f.order(nil, f.publish("1.0.0", vcl("# one")))
	f.eventually("one", runs(1))
	remote.ChangeService("S1", func(v *configtest.Version) { v.VCL["main"] = "# meddled"; v.Backends["origin"] = "new" })
	f.eventually("repaired", func(wire.AppReport) bool {
		v, _ := remote.ActiveVersion("S1")
		return v.VCL["main"] == "# one" && v.Backends["origin"] == "new"
	})
}

// The first release fails its probes at the edge: there is no release to go back to, and
// what was there before serves again, although the agent was stopped in the middle.
func TestTheFirstReleaseIsTakenBack(t *testing.T) {
	remote := configtest.NewFastly(configtest.Token)
	api := httptest.NewServer(remote)
	defer api.Close()
	path := configtest.DictionaryPath("S1", "D1")
	remote.SetItems(path, 100, map[string]string{"front": "200", "theirs": "stays"})
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if remote.Items(path)["front"] != "200" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer edge.Close()
	f := newFleet(t, fmt.Sprintf("  waf: {kind: fastly-dictionary, token_file: token, endpoint: %q, service: S1, dictionary: D1, settle: 1ns, url: %q}\n", api.URL, edge.URL))
	probe := wire.Probe{Path: "/", Status: 200}
	f.order(nil, f.publish("1.0.0", map[string]string{"dictionary.json": `{"front": "500"}`}, probe))
	f.eventually("taken back", ended(1, wire.StateReverted, "probe /: answered 500, want 200"))
	if got := fmt.Sprint(remote.Items(path)); got != "map[front:200 theirs:stays]" {
		t.Errorf("restored %s", got)
	}
	f.stop()
	f.start()
	f.order(nil, f.publish("2.0.0", map[string]string{"dictionary.json": `{"front": "200", "a": "1"}`}, probe))
	f.eventually("two", runs(2))
	if got := fmt.Sprint(remote.Items(path)); !strings.HasPrefix(got, "map[a:1 ebbgate-release:2.0.0-") || !strings.HasSuffix(got, "@2 front:200]") {
		t.Errorf("holds %s", got)
	}
}

// The token is in no log, report, error or file but its own.
func TestTokenAppearsNowhere(t *testing.T) {
	remote, f := serviceInUse(t)
	one := f.order(nil, f.publish("1.0.0", vcl("# one")))
	f.eventually("one", runs(1))
	end := remote.Outage(configtest.Fault{Status: http.StatusBadRequest, Message: "bad token " + configtest.Token})
	f.order(&one, f.publish("2.0.0", vcl("# two")))
	f.eventually("refused", ended(2, wire.StateFailed, "bad token [redacted]"))
	f.eventually("the look in the report", func(r wire.AppReport) bool { return strings.Contains(r.Running.Error, "bad token [redacted]") })
	end()
	text, err := wire.EncodeJSON(f.status())
	check(t, err)
	f.stop()
	all := f.log.String() + string(text)
	check(t, filepath.WalkDir(filepath.Join(f.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var data []byte
			data, err = os.ReadFile(path)
			all += path + string(data)
		}
		return err
	}))
	if i := strings.Index(all, configtest.Token); i >= 0 {
		t.Errorf("the token is in …%q", all[max(0, i-200):i])
	}
	if !strings.Contains(all, "before.json") || !strings.Contains(all, "# hand") {
		t.Error("the record was not looked at")
	}
}
