package fastly

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

const (
	service = "SU1Z0isxPaozGVKXdv0eY"
	thing   = "4y5K5trZocEAQYkesWlk7M"
)

func remote(t *testing.T) (*configtest.Fastly, Account) {
	f := configtest.NewFastly(configtest.Token)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, Account{Token: configtest.Token, Endpoint: server.URL}
}

// pairsPlace is a dictionary or config store.
func pairsPlace(f *configtest.Fastly, path, file string) configtest.Place {
	f.SetItems(path, 20, map[string]string{"front": "by hand", "theirs": "stays", "mingen-eu-west": "3"})
	edit := func(change func(map[string]string)) {
		items := f.Items(path)
		change(items)
		f.SetItems(path, 20, items)
	}
	return configtest.Place{
		Remote: &f.Remote,
		Holds:  func() string { return fmt.Sprint(f.Items(path)) },
		First:  map[string]string{file: `{"front": "one", "a": "1", "b": "2", "c": ""}`},
		Second: map[string]string{file: `{"front": "two", "a": "1", "d": "4"}`, "site/index.html": "not for us"},
		Bad:    map[string]string{file: `{"front": "x", "front": "y"}`}, Why: file + ": key \"front\" is there twice",
		Meddle:    func() { edit(func(m map[string]string) { delete(m, "a"); m["d"] = "by hand" }) },
		Neighbour: func() { edit(func(m map[string]string) { m["new"] = "theirs"; delete(m, "theirs") }) },
	}
}

func TestDictionary(t *testing.T) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		f, account := remote(t)
		p := pairsPlace(f, configtest.DictionaryPath(service, thing), DictionaryFile)
		p.New = func(t *testing.T) config.Target {
			d, err := NewDictionary(account, service, thing, 20)
			return configtest.Target(t, d, err)
		}
		return p
	})
}

func TestConfigStore(t *testing.T) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		f, account := remote(t)
		p := pairsPlace(f, configtest.ConfigStorePath(thing), ConfigStoreFile)
		p.New = func(t *testing.T) config.Target {
			s, err := NewConfigStore(account, thing, 20)
			return configtest.Target(t, s, err)
		}
		return p
	})
}

func TestACL(t *testing.T) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		f, account := remote(t)
		path := configtest.ACLPath(service, thing)
		bits := func(n int) *int { return &n }
		f.SetACL(path,
			configtest.Entry{IP: "203.0.113.7", Subnet: bits(32), Comment: "by hand"},
			configtest.Entry{IP: "198.51.100.0", Subnet: bits(24), Negated: true, Comment: "stays"},
			configtest.Entry{IP: "2001:db8::", Subnet: bits(32)})
		edit := func(ip string, e *configtest.Entry) {
			entries := slices.DeleteFunc(f.ACL(path), func(e configtest.Entry) bool { return e.IP == ip })
			if e != nil {
				entries = append(entries, *e)
			}
			f.SetACL(path, entries...)
		}
		return configtest.Place{
			New: func(t *testing.T) config.Target {
				l, err := NewACL(account, service, thing, 20)
				return configtest.Target(t, l, err)
			},
			Remote: &f.Remote,
			Holds: func() string {
				var lines []string
				for _, e := range f.ACL(path) {
					lines = append(lines, fmt.Sprint(e.IP, "/", *e.Subnet, e.Negated, e.Comment))
				}
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			},
			First:     map[string]string{ACLFile: `[{"ip": "203.0.113.7", "comment": "one"}, {"ip": "192.0.2.128/25"}, {"ip": "2001:db8:1::/48", "negated": true}]`},
			Second:    map[string]string{ACLFile: `[{"ip": "203.0.113.7/32", "comment": "two"}, {"ip": "192.0.2.128/25", "negated": true}]`},
			Bad:       map[string]string{ACLFile: `[{"ip": "203.0.113.0/33"}]`},
			Why:       `acl.json: [0]: ip: "203.0.113.0/33" is neither`,
			Meddle:    func() { edit("203.0.113.7", &configtest.Entry{IP: "203.0.113.7", Subnet: bits(32), Negated: true}) },
			Neighbour: func() { edit("198.51.100.0", nil) },
		}
	})
}

func TestService(t *testing.T) {
	configtest.Run(t, func(t *testing.T) configtest.Place {
		f, account := remote(t)
		f.ChangeService(service, func(v *configtest.Version) {
			v.Comment = "by hand"
			v.VCL["main"], v.VCL["old"], v.Main = "# hand main", "# hand old", "main"
			v.Snippets["block"] = configtest.Snippet{Type: "recv", Priority: "10", Content: "# hand"}
			v.Snippets["live"] = configtest.Snippet{Type: "recv", Priority: "10", Dynamic: true}
			v.Backends["origin"] = "192.0.2.1"
		})
		return configtest.Place{
			New: func(t *testing.T) config.Target {
				s, err := NewService(account, service)
				return configtest.Target(t, s, err)
			},
			Remote: &f.Remote,
			Holds: func() string {
				v, _ := f.ActiveVersion(service)
				lines := []string{"main " + v.Main}
				for name, content := range v.VCL {
					lines = append(lines, name+" "+content)
				}
				for name, s := range v.Snippets {
					lines = append(lines, fmt.Sprint(name, s))
				}
				for name, b := range v.Backends {
					lines = append(lines, name+" "+b)
				}
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			},
			First:     map[string]string{"vcl/main.vcl": "# one", "vcl/lib.vcl": "# lib", "snippets/block.recv.vcl": "# one"},
			Second:    map[string]string{"vcl/main.vcl": "# two", "vcl/lib.vcl": "# lib", "snippets/tag.deliver.20.vcl": "# two"},
			Bad:       map[string]string{"vcl/main.vcl": "set a mistake", "snippets/block.recv.vcl": "# one"},
			Why:       "Fastly does not take version ",
			Meddle:    func() { f.ChangeService(service, func(v *configtest.Version) { v.VCL["main"] = "# meddled" }) },
			Neighbour: func() { f.ChangeService(service, func(v *configtest.Version) { v.Backends["origin"] = "192.0.2.2" }) },
		}
	})
}
