package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

const hand = "00000000-aaaa-4000-8000-000000000001"

// trialOf is a Worker in use, with a keeper whose trials are short.
type trialOf struct {
	*configtest.Cloudflare
	*config.Keeper
	t       *testing.T
	account Account
	dir     string
}

func inUse(t *testing.T) *trialOf {
	c, a := remote(t)
	c.SetWorker(configtest.WorkerPath(account, script), configtest.Worker{
		Versions:    []configtest.WorkerVersion{{ID: hand, Modules: map[string]string{"hand.js": "1"}}},
		Deployments: []configtest.Deployment{{Shares: map[string]float64{hand: 100}}},
	})
	y := &trialOf{Cloudflare: c, t: t, account: a, dir: t.TempDir()}
	y.again()
	return y
}

func (y *trialOf) again() {
	w, err := NewWorker(y.account, account, script, Trial{Percent: 10, For: 50 * time.Millisecond})
	y.Keeper, err = config.NewKeeper(config.KeeperConfig{Target: configtest.Target(y.t, w, err), Dir: y.dir, Settle: 1, Backoff: time.Millisecond})
	if err != nil {
		y.t.Fatal(err)
	}
}

// now is the deployment, in the words of the test: "hand 90, one 10".
func (y *trialOf) now() string {
	w := y.Worker(configtest.WorkerPath(account, script))
	var said []string
	for id, percent := range w.Deployments[0].Shares {
		v := w.Version(id)
		said = append(said, fmt.Sprintf("%s %v", v.Modules["worker.js"]+v.Modules["hand.js"], percent))
	}
	if len(said) == 2 && said[0] > said[1] {
		said[0], said[1] = said[1], said[0]
	}
	return strings.Join(said, ", ")
}

func worker(version, code string, check func(context.Context, http.Header) error) config.Release {
	r := configtest.Release(version, map[string]string{"worker.js": code})
	r.Check = check
	return r
}

func TestTrial(t *testing.T) {
	y := inUse(t)
	asked := 0
	one := worker("1.0", "one", func(_ context.Context, h http.Header) error {
		if asked++; y.now() != "1 90, one 10" {
			t.Errorf("asked while the deployment is %s", y.now())
		}
		w := y.Worker(configtest.WorkerPath(account, script))
		if want := script + `="` + w.Versions[1].ID + `"`; h.Get(overrideHeader) != want {
			t.Errorf("the header is %s, want %s", h.Get(overrideHeader), want)
		}
		return nil
	})
	if err := y.Activate(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if y.now() != "one 100" || asked == 0 {
		t.Errorf("%s, after %d checks", y.now(), asked)
	}

	// One that fails its trial never gets all requests, and is not tried again, whether it
	// answers or not.
	for says, failure := range map[string]error{
		"probe /: answered 500": errors.New("probe /: answered 500"),
		"probe /: no answer":    fmt.Errorf("probe /: no answer: %w", context.DeadlineExceeded),
	} {
		bad := worker("2.0", "two", func(context.Context, http.Header) error { return failure })
		before := len(y.Calls())
		err := y.Activate(t.Context(), bad)
		if !errors.Is(err, config.ErrTrial) || config.Passing(err) || !strings.Contains(err.Error(), "with 10% of the requests: "+says) {
			t.Errorf("a bad version: %v", err)
		}
		if y.now() != "one 90, two 10" {
			t.Errorf("after a failed trial: %s", y.now())
		}
		deployed := 0
		for _, call := range y.Calls()[before:] {
			if strings.HasPrefix(call, "POST ") && strings.HasSuffix(call, "/deployments") {
				deployed++
			}
		}
		if deployed != 1 {
			t.Errorf("%s: deployed %d times", says, deployed)
		}
	}

	// Going back needs no trial, nor does what was there before.
	asked = 0
	if err := y.Activate(t.Context(), one); err != nil || y.now() != "one 100" || asked != 0 {
		t.Errorf("went back to %s after %d checks: %v", y.now(), asked, err)
	}
	if err := y.Restore(t.Context()); err != nil || y.now() != "1 100" {
		t.Errorf("restored %s: %v", y.now(), err)
	}
}

// A process that ends in a trial leaves it to the next one, which begins it again.
func TestTrialInterrupted(t *testing.T) {
	y := inUse(t)
	ctx, cancel := context.WithCancel(t.Context())
	one := worker("1.0", "one", func(ctx context.Context, _ http.Header) error { cancel(); return ctx.Err() })
	if err := y.Activate(ctx, one); !errors.Is(err, context.Canceled) || errors.Is(err, config.ErrTrial) || y.now() != "1 90, one 10" {
		t.Fatalf("%v, %s", err, y.now())
	}
	y.again()
	if _, err := y.Confirm(t.Context(), one); !errors.Is(err, config.ErrDiffers) {
		t.Errorf("a trial is confirmed: %v", err)
	}
	asked := 0
	one.Check = func(context.Context, http.Header) error { asked++; return nil }
	if err := y.Activate(t.Context(), one); err != nil || asked == 0 || y.now() != "one 100" {
		t.Errorf("%v after %d checks, %s", err, asked, y.now())
	}
}

// A version that came through its trial has not to do so again because of what fails after.
func TestTrialIsNotRepeated(t *testing.T) {
	y := inUse(t)
	asked := 0
	one := worker("1.0", "one", func(context.Context, http.Header) error {
		if asked++; asked == 1 { // the last call is the one that gives it all requests
			y.At(1, configtest.Fault{Status: http.StatusServiceUnavailable})
		}
		return nil
	})
	if err := y.Activate(t.Context(), one); err != nil || y.now() != "one 100" {
		t.Fatalf("%v, %s", err, y.now())
	}
	trials := 0
	for _, d := range y.Worker(configtest.WorkerPath(account, script)).Deployments {
		if len(d.Shares) == 2 {
			trials++
		}
	}
	if trials != 1 {
		t.Errorf("%d trials", trials)
	}
}

// The same content is one version, whatever the release is called; a rollback deploys
// it again under its new name.
func TestOneVersionOfOneContent(t *testing.T) {
	y := inUse(t)
	for _, version := range []string{"1.0", "2.0", "1.0"} {
		if err := y.Activate(t.Context(), worker(version, "one", nil)); err != nil {
			t.Fatal(err)
		}
		if evidence, err := y.Confirm(t.Context(), worker(version, "one", nil)); err != nil || !strings.Contains(evidence, version+"@1") {
			t.Errorf("%q %v", evidence, err)
		}
	}
	if w := y.Worker(configtest.WorkerPath(account, script)); len(w.Versions) != 2 {
		t.Errorf("%d versions", len(w.Versions))
	}
}

// What is uploaded: one JSON part with all metadata, and secrets that stay.
func TestUpload(t *testing.T) {
	y := inUse(t)
	r := configtest.Release("1.0", map[string]string{
		"worker.js": "export default {}", "modules/a/lib.wasm": "\x00asm", "site/index.html": "not for us",
		"worker.json": `{"compatibility_date": "2026-01-01", "bindings": [{"type": "kv_namespace", "name": "KV", "namespace_id": "x"}]}`,
	})
	if err := y.Validate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	v := y.Worker(configtest.WorkerPath(account, script)).Versions[1]
	if fmt.Sprint(v.Modules) != "map[modules/a/lib.wasm:\x00asm worker.js:export default {}]" {
		t.Errorf("modules %q", v.Modules)
	}
	for field, want := range map[string]string{
		"main_module": "worker.js", "compatibility_date": "2026-01-01", "keep_bindings": "[secret_text secret_key]",
		"bindings": "[map[name:KV namespace_id:x type:kv_namespace]]",
	} {
		if got := fmt.Sprint(v.Metadata[field]); got != want {
			t.Errorf("metadata %s is %s, want %s", field, got, want)
		}
	}
	if tag := v.Annotations[tagAnnotation]; len(tag) != len(tagPrefix)+32 {
		t.Errorf("tag %q", tag)
	}
	if y.now() != "1 100" {
		t.Errorf("an upload serves: %s", y.now())
	}
}
