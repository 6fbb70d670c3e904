package cloudflare

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

const (
	account   = "0123456789abcdef0123456789abcdef"
	namespace = "abcdef0123456789abcdef0123456789"
	zone      = "fedcba9876543210fedcba9876543210"
	phase     = "http_request_firewall_custom"
	script    = "edge-router"
)

func remote(t *testing.T) (*configtest.Cloudflare, Account) {
	c := configtest.NewCloudflare(configtest.Token)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, Account{Token: configtest.Token, Endpoint: server.URL + "/client/v4"}
}

func TestNamespace(t *testing.T) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		c, a := remote(t)
		path := configtest.NamespacePath(account, namespace)
		edit := func(change func(map[string]configtest.Pair)) {
			pairs := c.Pairs(path)
			change(pairs)
			c.SetPairs(path, pairs)
		}
		c.SetPairs(path, map[string]configtest.Pair{
			"flags/front": {Value: "by hand", Metadata: map[string]any{"by": "hand"}}, "theirs": {Value: "stays"},
			"session": {Value: "expires", Expiration: 4102444800},
		})
		return configtest.Place{
			New: func(t *testing.T) config.Target {
				n, err := NewNamespace(a, account, namespace, 0)
				return configtest.Target(t, n, err)
			},
			Remote: &c.Remote,
			Holds:  func() string { return fmt.Sprint(c.Pairs(path)) },
			First:  map[string]string{"kv/flags/front": "one", "kv/a": "1", "kv/b": "2\n", "kv/c": ""},
			Second: map[string]string{"kv/flags/front": "two", "kv/a": "1", "kv/d e": "4", "site/index.html": "not for us"},
			Bad:    map[string]string{"kv/logo.png": "\x89PNG\xff"}, Why: "kv/logo.png: is not UTF-8",
			Meddle: func() {
				edit(func(m map[string]configtest.Pair) { delete(m, "a"); m["d e"] = configtest.Pair{Value: "by hand"} })
			},
			Neighbour: func() {
				edit(func(m map[string]configtest.Pair) { m["new"] = configtest.Pair{Value: "theirs"}; delete(m, "theirs") })
			},
		}
	})
}

func TestRuleset(t *testing.T) {
	for name, found := range map[string]*configtest.Ruleset{
		"in use": {Description: "by hand", Rules: []map[string]any{
			{"action": "block", "expression": "ip.src eq 192.0.2.1", "ref": "hand", "enabled": false},
			{"action": "log", "expression": "true"},
		}},
		// The first release asks for less of it than there is.
		"overlapping": {Description: "one", Rules: []map[string]any{
			{"action": "block", "expression": "ip.src in $bad", "action_parameters": map[string]any{"response": map[string]any{"status_code": 403, "content": "by hand"}}, "logging": map[string]any{"enabled": true}},
		}},
		"empty": {Description: ""},
	} {
		t.Run(name, func(t *testing.T) {
			configtest.Run(t, func(t *testing.T) configtest.Place {
				c, a := remote(t)
				c.SetRuleset(zone, phase, found)
				return configtest.Place{
					New: func(t *testing.T) config.Target {
						r, err := NewRuleset(a, zone, phase)
						return configtest.Target(t, r, err)
					},
					Remote: &c.Remote,
					Holds: func() string {
						r := c.Ruleset(zone, phase)
						lines := []string{r.Description}
						for _, rule := range r.Rules {
							rule = maps.Clone(rule)
							if rule["ref"] == rule["id"] {
								delete(rule, "ref")
							}
							for _, field := range assigned {
								delete(rule, field)
							}
							lines = append(lines, fmt.Sprint(rule))
						}
						return strings.Join(lines, "\n")
					},
					First: map[string]string{RulesetFile: `{"description": " one\n", "rules": [{"action": "block", "expression": "ip.src in $bad", "action_parameters": {"response": {"status_code": 403}}}]}`},
					Second: map[string]string{RulesetFile: `{"rules": [
						{"action": "log", "expression": "http.host eq \"a\"", "ref": "log"}, {"action": "block", "expression": "ip.src in $bad", "enabled": false}]}`},
					Bad: map[string]string{RulesetFile: `{"rules": [{"action": "block", "expression": "a mistake"}]}`}, Why: "20127 rules[0]: 'a mistake' is not a valid expression",
					Meddle: func() {
						r := *c.Ruleset(zone, phase)
						r.Rules = slices.Clone(r.Rules)
						r.Rules[0] = map[string]any{"action": "log", "expression": "http.host eq \"a\"", "ref": "log", "enabled": false}
						for _, rule := range r.Rules[1:] {
							delete(rule, "id")
						}
						c.SetRuleset(zone, phase, &r)
					},
				}
			})
		})
	}
}

func TestWorker(t *testing.T) {
	for name, trial := range map[string]Trial{"at once": {}, "after a trial": {Percent: 10, For: 2 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) { testWorker(t, trial) })
	}
}

func testWorker(t *testing.T, trial Trial) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		c, a := remote(t)
		path := configtest.WorkerPath(account, script)
		const old, older = "00000000-aaaa-4000-8000-000000000001", "00000000-aaaa-4000-8000-000000000000"
		c.SetWorker(path, configtest.Worker{
			Versions: []configtest.WorkerVersion{{ID: older, Modules: map[string]string{"hand.js": "0"}}, {ID: old, Modules: map[string]string{"hand.js": "1"}}},
			Deployments: []configtest.Deployment{
				{Shares: map[string]float64{old: 70, older: 30}, Annotations: map[string]string{"workers/message": "by hand"}},
				{Shares: map[string]float64{older: 100}},
			},
		})
		return configtest.Place{
			New: func(t *testing.T) config.Target {
				w, err := NewWorker(a, account, script, trial)
				return configtest.Target(t, w, err)
			},
			Remote: &c.Remote,
			Holds: func() string {
				w := c.Worker(path)
				now := w.Deployments[0]
				var lines []string
				if strings.HasPrefix(now.Annotations[messageAnnotation], config.Mark) { // a message by hand is not put back
					lines = append(lines, now.Annotations[messageAnnotation])
				}
				for id, percent := range now.Shares {
					v := w.Version(id)
					delete(v.Metadata, "annotations")
					metadata, err := json.Marshal(v.Metadata)
					if err != nil {
						t.Error(err)
					}
					lines = append(lines, fmt.Sprint(percent, v.Modules, string(metadata)))
				}
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			},
			First: map[string]string{
				"worker.js": "export default one", "worker.json": `{"compatibility_date": "2026-01-01", "bindings": [{"type": "plain_text", "name": "A", "text": "b"}]}`,
				"modules/lib.js": "export const lib = 1",
			},
			Second: map[string]string{"worker.js": "export default two"},
			Bad:    map[string]string{"worker.js": "a mistake"}, Why: "10021 Uncaught SyntaxError",
			Meddle: func() {
				w := c.Worker(path)
				w.Deployments = slices.Insert(w.Deployments, 0, configtest.Deployment{Shares: map[string]float64{old: 100}})
				c.SetWorker(path, w)
			},
		}
	})
}
