package fastly

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
	purger "github.com/ebbgate/ebbgate/cdn/fastly"
)

// The controller's fences and an agent's releases write one dictionary: neither takes
// away what is the other's, at the same time too, nor does going back.
func TestFencesAndReleasesInOneDictionary(t *testing.T) {
	f, account := remote(t)
	path := configtest.DictionaryPath(service, thing)
	f.SetItems(path, 20, map[string]string{"front": "by hand", "mingen-us": "3"})
	d, err := NewDictionary(account, service, thing, 20)
	k, err := config.NewKeeper(config.KeeperConfig{Target: configtest.Target(t, d, err), Dir: t.TempDir(), Settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := purger.New(purger.Config{
		Token: configtest.Token, Endpoint: account.Endpoint, Fences: map[string]string{service: thing}, Spread: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	const last = 20
	var wg sync.WaitGroup
	wg.Go(func() {
		for epoch := range uint64(last) {
			if err := p.Fence(t.Context(), service, "eu", epoch+1); err != nil {
				t.Error(err)
			}
		}
	})
	for n := range last {
		r := configtest.Release(fmt.Sprint(n), map[string]string{DictionaryFile: fmt.Sprintf(`{"front": "%d", "key-%d": ""}`, n, n%2)})
		if err := k.Activate(t.Context(), r); err != nil {
			t.Error(err)
		}
		if _, err := k.Confirm(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	fences := map[string]string{"mingen-us": "3", "mingen-eu": fmt.Sprint(last)}
	want := map[string]string{"front": "19", "key-1": "", config.Mark: "19@1"}
	maps.Copy(want, fences)
	if diff := cmp.Diff(want, f.Items(path)); diff != "" {
		t.Error(diff)
	}
	if err := k.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"front": "by hand"}
	maps.Copy(want, fences)
	if diff := cmp.Diff(want, f.Items(path)); diff != "" {
		t.Errorf("restored: %s", diff)
	}
}
