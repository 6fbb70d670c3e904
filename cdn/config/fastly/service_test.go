package fastly

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

// inUse is a service whose active version was made by hand, and a keeper of it.
func inUse(t *testing.T, keep bool) (*configtest.Fastly, *config.Keeper) {
	t.Helper()
	f, account := remote(t)
	f.ChangeService(service, func(v *configtest.Version) {
		v.VCL["main"], v.Main = "# hand", "main"
		v.Backends["origin"] = "192.0.2.1"
	})
	s, err := NewService(account, service)
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, s, err), Dir: t.TempDir(), Keep: keep, Settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	return f, k
}

func activate(t *testing.T, k *config.Keeper, r config.Release) {
	t.Helper()
	if err := k.Activate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Confirm(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

var (
	one = configtest.Release("1.0", map[string]string{"vcl/main.vcl": "# one"})
	two = configtest.Release("2.0", map[string]string{"vcl/main.vcl": "# two"})
)

// Going back activates the version that served before; no version is made for it.
func TestGoingBackReactivates(t *testing.T) {
	f, k := inUse(t, false)
	for _, step := range []struct {
		do      func()
		version int
	}{
		{func() { activate(t, k, one) }, 2},
		{func() { activate(t, k, two) }, 3},
		{func() { activate(t, k, one) }, 2},
		{func() { activate(t, k, two) }, 3},
		{func() {
			if err := k.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		step.do()
		if _, number := f.ActiveVersion(service); number != step.version {
			t.Errorf("version %d is active, want %d", number, step.version)
		}
	}
	if v, _ := f.ActiveVersion(service); v.VCL["main"] != "# hand" || v.Comment != "" {
		t.Errorf("restored %+v", v)
	}
}

// What others change after a version was staged, or after a release, is not undone by
// activating it or by going back.
func TestWhatOthersChangeIsKept(t *testing.T) {
	f, k := inUse(t, false)
	backend := func(address string) {
		f.ChangeService(service, func(v *configtest.Version) { v.Backends["origin"] = address })
	}
	holds := func(vcl, address string) {
		t.Helper()
		if v, n := f.ActiveVersion(service); v.VCL["main"] != vcl || v.Backends["origin"] != address {
			t.Errorf("version %d has %q and %q, want %q and %q", n, v.VCL["main"], v.Backends["origin"], vcl, address)
		}
	}
	if err := k.Validate(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	backend("192.0.2.2")
	activate(t, k, one)
	holds("# one", "192.0.2.2")
	activate(t, k, two)
	backend("192.0.2.3")
	activate(t, k, one)
	holds("# one", "192.0.2.3")
}

// An activation makes one draft, however often it is validated.
func TestOneDraft(t *testing.T) {
	f, k := inUse(t, false)
	for range 3 {
		if err := k.Validate(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	activate(t, k, one)
	clones := 0
	for _, call := range f.Calls() {
		if strings.HasSuffix(call, "/clone") {
			clones++
		}
	}
	if clones != 1 {
		t.Errorf("%d clones", clones)
	}
	if v, n := f.ActiveVersion(service); v.Comment != "ebbgate 1.0: 2 from 1" || n != 2 {
		t.Errorf("version %d has the comment %q", n, v.Comment)
	}
}

func TestTwoMainFiles(t *testing.T) {
	f, k := inUse(t, true)
	f.ChangeService(service, func(v *configtest.Version) {
		v.VCL = map[string]string{"boilerplate": "# hand"}
		v.Main = "boilerplate"
	})
	err := k.Validate(t.Context(), one)
	if err == nil || config.Passing(err) || !strings.Contains(err.Error(), "vcl/boilerplate and vcl/main are both main VCL files") {
		t.Error(err)
	}
}

func TestServiceThatNeverServed(t *testing.T) {
	f, account := remote(t)
	f.ChangeService(service, func(*configtest.Version) {})
	s, err := NewService(account, "another")
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, s, err), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Validate(t.Context(), one); err == nil || config.Passing(err) || !strings.Contains(err.Error(), "scope another does not exist, or not for this token") {
		t.Error(err)
	}
}

func TestLoad(t *testing.T) {
	f, account := remote(t)
	_ = f
	d, err := NewDictionary(account, service, thing, 0)
	dictionary := configtest.Target(t, d, err)
	c, err := NewConfigStore(account, thing, 0)
	store := configtest.Target(t, c, err)
	l, err := NewACL(account, service, thing, 0)
	acl := configtest.Target(t, l, err)
	v, err := NewService(account, service)
	vcl := configtest.Target(t, v, err)
	long := strings.Repeat("é", 300)
	for _, test := range []struct {
		target     config.Target
		file, text string
		says       string
	}{
		{dictionary, "other.json", "{}", "dictionary.json is missing from the release"},
		{dictionary, DictionaryFile, "[]", "dictionary.json: is not an object of strings"},
		{dictionary, DictionaryFile, `{"a": 1}`, `dictionary.json: key "a": the value is not a string`},
		{dictionary, DictionaryFile, `{"a": "1"`, "dictionary.json: unexpected EOF"},
		{dictionary, DictionaryFile, `{"a": "1"} {}`, "dictionary.json: holds more than one JSON value"},
		{dictionary, DictionaryFile, `{"a": "1"}}`, "dictionary.json: holds more than one JSON value"},
		{dictionary, DictionaryFile, `{"": "1"}`, "dictionary.json: a key is empty"},
		{dictionary, DictionaryFile, fmt.Sprintf(`{%q: ""}`, long), "has 300 characters, at most 256 are taken"},
		{dictionary, DictionaryFile, fmt.Sprintf(`{"a": %q}`, strings.Repeat("x", 8001)), `key "a": the value has 8001 characters, at most 8000 are taken`},
		{dictionary, DictionaryFile, `{"ebbgate-release": ""}`, `key "ebbgate-release" is kept for the release`},
		{dictionary, DictionaryFile, `{"mingen-eu": ""}`, `key "mingen-eu" is kept for the release and the fences`},
		{store, ConfigStoreFile, fmt.Sprintf(`{%q: ""}`, strings.Repeat("x", 256)), "has 256 characters, at most 255 are taken"},
		{acl, ACLFile, `[{"ip": "192.0.2.1"}, {"ip": "192.0.2.1/32"}]`, "acl.json: [1]: ip: 192.0.2.1/32 is there twice"},
		{acl, ACLFile, `[{"ip": "192.0.2.53"}]`, "acl.json: [0]: ip: 192.0.2.53 is kept for the release"},
		{acl, ACLFile, " null\n", "acl.json: is null"},
		{acl, ACLFile, `[{"address": "192.0.2.1"}]`, `acl.json: json: unknown field "address"`},
		{vcl, "README", "", "the release holds neither vcl/*.vcl nor snippets/*.vcl"},
		{vcl, "vcl/lib.vcl", "", "vcl/main.vcl is missing from the release"},
		{vcl, "vcl/main.txt", "", "vcl/main.txt: the name is not <name>.vcl"},
		{vcl, "snippets/a.vcl", "", "snippets/a.vcl: the name is not <name>.<type>"},
		{vcl, "snippets/a.receive.vcl", "", "with a type that Fastly knows"},
		{vcl, "snippets/ebbgate-release.none.vcl", "", "the name is kept for the release"},
	} {
		_, err := test.target.Load(configtest.Release("1", map[string]string{test.file: test.text}).Files)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %.40q: %v, want %q", test.file, test.text, err, test.says)
		}
	}
}

func TestNew(t *testing.T) {
	ok := Account{Token: "t"}
	for says, err := range map[string]error{
		"service: \"../x\" is not": configtest.Refusal(NewDictionary(ok, "../x", thing, 0)),
		"dictionary: \"\" is not":  configtest.Refusal(NewDictionary(ok, service, "", 0)),
		"acl: \"a/b\" is not":      configtest.Refusal(NewACL(ok, service, "a/b", 0)),
		"store: \"..\" is not":     configtest.Refusal(NewConfigStore(ok, "..", 0)),
		"token is empty":           configtest.Refusal(NewService(Account{}, service)),
		"endpoint must be":         configtest.Refusal(NewService(Account{Token: "t", Endpoint: "https://user@host"}, service)),
		"timeout is negative":      configtest.Refusal(NewService(Account{Token: "t", Timeout: -1}, service)),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
