package tags_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// replace writes active.json as the agent does.
func replace(t *testing.T, path string, a *tags.Active) {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	rename(t, path, data)
}

func rename(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

func TestFileFollowsTheAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "active.json")
	f := tags.Open(path)
	if a := f.Active(); a != nil {
		t.Errorf("before the first release: %v", a)
	}
	replace(t, path, active(1, "/r/1"))
	first := f.Active()
	if first == nil || first.Dir != "/r/1" || first.Generation != "shop.eu-west-1" {
		t.Fatalf("got %+v", first)
	}
	if f.Active() != first {
		t.Error("another pointer for the same release")
	}
	replace(t, path, active(2, "/r/2"))
	second := f.Active()
	if second.Epoch != 2 || second.Dir != "/r/2" {
		t.Errorf("got %+v", second)
	}
	for name, data := range map[string]string{
		"empty": "", "not JSON": "{", "of something else": `{"generation":"17","dir":"/r"}`, "without dir": `{"generation":"shop.eu-west-3"}`,
	} {
		rename(t, path, []byte(data))
		if a := f.Active(); a != second {
			t.Errorf("%s: got %+v", name, a)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a := f.Active(); a != second {
		t.Errorf("removed: got %+v", a)
	}
	// An agent newer than the program.
	rename(t, path, []byte(`{"generation":"shop.eu-west-4","dir":"/r/4","more":{}}`))
	if a := f.Active(); a == nil || a.Dir != "/r/4" {
		t.Errorf("got %+v", a)
	}
}

// While releases change, no answer has the header of one and the body of another. A
// program that reads below a link shows that this test can see it.
func TestNoMixUnderSwitches(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "active.json"), filepath.Join(dir, "current")
	for e := wire.Epoch(1); e <= 2; e++ {
		if err := os.Mkdir(release(dir, e), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(release(dir, e), "page"), []byte(active(e, "").Generation), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change := func(e wire.Epoch) {
		if err := os.Symlink(release(dir, e), link+".tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".tmp", link); err != nil {
			t.Fatal(err)
		}
		replace(t, path, active(e, release(dir, e)))
	}
	change(1)
	for _, pinned := range []bool{true, false} {
		t.Run(fmt.Sprintf("pinned=%v", pinned), func(t *testing.T) {
			handler := tags.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				below := link
				if pinned {
					below = tags.Of(r.Context()).Dir
				}
				data, err := os.ReadFile(filepath.Join(below, "page"))
				if err != nil {
					t.Error(err)
				}
				w.Write(data)
			}), tags.Open(path).Active)
			var mixed, asked atomic.Int64
			var stop atomic.Bool
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for !stop.Load() {
						w := httptest.NewRecorder()
						handler.ServeHTTP(w, httptest.NewRequest("GET", "/page", nil))
						if w.Header().Get(tags.HeaderGeneration) != w.Body.String() {
							mixed.Add(1)
						}
						asked.Add(1)
					}
				})
			}
			for i := 0; i < 50 || asked.Load() < 2000 || !pinned && mixed.Load() == 0 && i < 100_000; i++ {
				change(wire.Epoch(1 + i%2))
			}
			stop.Store(true)
			wg.Wait()
			t.Logf("%d of %d answers were mixed", mixed.Load(), asked.Load())
			if pinned != (mixed.Load() == 0) {
				t.Fail()
			}
		})
	}
}

func release(dir string, e wire.Epoch) string { return filepath.Join(dir, "release-"+e.String()) }
