package fastly

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

// 2,300 items are three calls of at most 1,000, and come back on 24 pages without a
// Link header.
func TestLargeDictionary(t *testing.T) {
	f, account := remote(t)
	path := configtest.DictionaryPath(service, thing)
	f.SetItems(path, 3000, map[string]string{})
	items := map[string]string{}
	for i := range 2300 {
		items[fmt.Sprint("key-", i)] = strings.Repeat("v", 100)
	}
	data, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	r := configtest.Release("1.0", map[string]string{DictionaryFile: string(data)})
	keeper := func(most int) *config.Keeper {
		d, err := NewDictionary(account, service, thing, most)
		k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, d, err), Dir: t.TempDir(), Settle: 1})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if err := keeper(0).Validate(t.Context(), r); err == nil || !strings.Contains(err.Error(), "it would hold 2301 items with the mark and what is kept, at most 1000 fit") {
		t.Errorf("with the usual limit: %v", err)
	}
	k := keeper(3000)
	activate(t, k, r)
	writes, pages := 0, 0
	for _, call := range f.Calls() {
		if strings.HasPrefix(call, "PATCH ") {
			writes++
		} else {
			pages++
		}
	}
	if held := f.Items(path); writes != 3 || len(held) != 2301 || held[config.Mark] != "1.0@1" {
		t.Errorf("%d calls made %d items, release %q", writes, len(held), held[config.Mark])
	}
	if pages != 1+1+24+24 { // validated, before, after, confirmed
		t.Errorf("%d pages were read", pages)
	}
}

// The controller's fences in the same dictionary take room, too.
func TestFencesCount(t *testing.T) {
	f, account := remote(t)
	f.SetItems(configtest.DictionaryPath(service, thing), 5, map[string]string{"mingen-eu": "1", "mingen-us": "1"})
	d, err := NewDictionary(account, service, thing, 5)
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, d, err), Dir: t.TempDir(), Settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	activate(t, k, configtest.Release("1.0", map[string]string{DictionaryFile: `{"a": "1", "b": "1"}`}))
	err = k.Validate(t.Context(), configtest.Release("2.0", map[string]string{DictionaryFile: `{"a": "1", "b": "1", "c": "1"}`}))
	if err == nil || config.Passing(err) || !strings.Contains(err.Error(), "it would hold 6 items with the mark and what is kept, at most 5 fit") {
		t.Error(err)
	}
}

// A write-only dictionary shows no values: it is refused before anything is sent.
func TestWriteOnlyDictionary(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s was sent", r.Method)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"item_key": "a", "item_value": null}]`)
	}))
	defer server.Close()
	d, err := NewDictionary(Account{Token: configtest.Token, Endpoint: server.URL}, service, thing, 0)
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, d, err), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	err = k.Validate(t.Context(), configtest.Release("1.0", map[string]string{DictionaryFile: `{"a": "1"}`}))
	if err == nil || config.Passing(err) || !strings.Contains(err.Error(), "the dictionary is write-only") {
		t.Error(err)
	}
}

// All that Fastly says of a bad call is told.
func TestSeveralErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.api+json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors": [{"title": "Bad key", "detail": "a"}, {"title": "Bad value"}]}`)
	}))
	defer server.Close()
	d, err := NewDictionary(Account{Token: configtest.Token, Endpoint: server.URL}, service, thing, 0)
	_, err = configtest.Target(t, d, err).Read(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), ": Bad key: a; Bad value (HTTP 400)") {
		t.Error(err)
	}
}

// An entry that changes is updated in place; of an address that is there twice, one
// entry is left.
func TestACLOfOthers(t *testing.T) {
	f, account := remote(t)
	path := configtest.ACLPath(service, thing)
	bits := 24
	f.SetACL(path, configtest.Entry{IP: "203.0.113.9", Subnet: &bits, Comment: "one"}, configtest.Entry{IP: "203.0.113.0", Subnet: &bits, Comment: "again"},
		configtest.Entry{IP: "198.51.100.7", Comment: "no mask"})
	first := f.ACL(path)[0].ID
	l, err := NewACL(account, service, thing, 0)
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, l, err), Dir: t.TempDir(), Settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	activate(t, k, configtest.Release("1.0", map[string]string{ACLFile: `[{"ip": "203.0.113.0/24", "comment": "ours"}, {"ip": "198.51.100.7", "comment": "no mask"}]`}))
	var said []string
	for _, e := range f.ACL(path) {
		said = append(said, fmt.Sprint(e.IP, " ", e.Comment, " ", e.Negated, " ", e.ID == first))
	}
	want := []string{"203.0.113.0 ours false true", "198.51.100.7 no mask false false", "192.0.2.53 ebbgate-release 1.0@1 true false"}
	if fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", said, want)
	}
}
