package cdn_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/cdn"
)

// A remote end that repeats everything it was sent, in headers and in a body of
// every shape, must not get a token into an error, a log, the output, a URL or
// the database.
func TestTokensAppearNowhere(t *testing.T) {
	t.Setenv("FASTLY_DEBUG_MODE", "1")
	t.Setenv("AWS_SDK_LOAD_CONFIG", "1")
	said := output(t, func() {
		for _, status := range []int{200, 201, 302, 400, 401, 403, 404, 409, 429, 500, 503} {
			for _, kind := range []string{"application/json", "application/vnd.api+json", "application/problem+json", "text/xml", "text/html"} {
				t.Run(fmt.Sprint(status, " ", kind), func(t *testing.T) { each(t, echo(status, kind), spill) })
			}
		}
	})
	if leaks(said) {
		t.Errorf("the output has a token: %s", said)
	}
}

// What a provider calls a purge is kept and shown: a token in there is as much of a leak as
// one in an error, and so is what steers a terminal.
func TestPurgeIDsHoldNoSecret(t *testing.T) {
	each(t, accept("id-"+canary+"\u202e\u0085"), func(t *testing.T, p cdn.Purger, s *server) {
		for _, r := range []cdn.Request{one(cdn.Key, "rules"), one(cdn.URL, "https://www.example.com/a"), one(cdn.All, "")} {
			receipt, err := p.Purge(t.Context(), r)
			if err != nil {
				t.Fatalf("%v: %v", r.Selectors, err)
			}
			id := receipt.IDs[r.Selectors[0]]
			if leaks(fmt.Sprintf("%+v", receipt)) || strings.ContainsAny(id, "\u202e\u0085") {
				t.Errorf("%v: the receipt has a token or a control character: %q", r.Selectors, id)
			}
			if asks := strings.Contains("fastly cloudflare cloudfront", p.Name()); asks && !strings.HasPrefix(id, "id-") {
				t.Errorf("%v: id %q, nothing was tried", r.Selectors, id)
			}
		}
		spill(t, p, s)
	})
}

// accept answers every provider's purge with an id.
func accept(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/invalidation"):
			w.Header().Set("Content-Type", "text/xml")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "<Invalidation><Id>%s%s</Id></Invalidation>", id, session)
		case strings.HasSuffix(r.URL.Path, "/purge_cache"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"success":true,"result":{"id":"%s"}}`, id)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Ebbgate-Accepted", "1")
			fmt.Fprintf(w, `{"status":"ok","id":"%s","rules":"%s"}`, id, id)
		}
	}
}

// spill purges, fences and sends through an outbox.
func spill(t *testing.T, p cdn.Purger, s *server) {
	for _, r := range []cdn.Request{one(cdn.Key, "rules"), one(cdn.URL, "https://www.example.com/a"), one(cdn.All, "")} {
		_, err := p.Purge(t.Context(), r)
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); leaks(text) {
			t.Errorf("the error has a token: %s", text)
		}
	}
	if f, ok := p.(cdn.Fencer); ok {
		err := f.Fence(t.Context(), "scope", "eu-west", 17)
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); leaks(text) {
			t.Errorf("the error of a fence has a token: %s", text)
		}
	}
	path := filepath.Join(t.TempDir(), "db")
	sent := attempt(t, path, p)
	if text := fmt.Sprintf("%+v", sent); leaks(text) {
		t.Errorf("the outbox has a token: %s", text)
	}
	if data, err := os.ReadFile(path); err != nil || leaks(string(data)) {
		t.Errorf("the database has a token, %v", err)
	}
	if asked := strings.Join(s.requests(), "\n"); leaks(asked) || asked == "" {
		t.Errorf("the URLs have a token: %s", asked)
	}
}

// attempt lets an outbox make its first call.
func attempt(t *testing.T, path string, p cdn.Purger) cdn.Entry {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	settled := make(chan cdn.Entry, 16)
	o, err := cdn.NewOutbox(cdn.OutboxConfig{DB: db, Purgers: []cdn.Purger{p}, OnChange: func(e cdn.Entry) {
		if e.LastError != "" || e.State == cdn.StateAccepted || e.State == cdn.StateRefused {
			select {
			case settled <- e:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	item := cdn.Item{Provider: p.Name(), Scope: "scope", Region: "eu-west", Epoch: 17, Selector: cdn.Selector{Kind: cdn.Key, Value: "rules"}, Round: 1}
	if _, err := o.Submit(ctx, []cdn.Item{item}); err != nil {
		t.Fatal(err)
	}
	entry := <-settled
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return entry
}

// echo answers with everything that came in.
func echo(status int, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var came strings.Builder
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(&came, "%s %s ", name, strings.Join(r.Header[name], " "))
		}
		all := strings.NewReplacer(`"`, "", "<", "", ">", "", "&", "", "\\", "").Replace(canary + " " + came.String() + string(body))
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Echo", all)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		switch contentType {
		case "application/vnd.api+json":
			fmt.Fprintf(w, `{"errors":[{"title":%q,"detail":%q,"code":%q}]}`, all, all, all)
		case "text/xml":
			fmt.Fprintf(w, "<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>", canary, all, all)
		case "text/html":
			fmt.Fprintf(w, "<html>%s</html>", all)
		default:
			fmt.Fprintf(w, `{"msg":%q,"title":%q,"detail":%q,"success":false,"errors":[{"code":1107,"message":%q}],"item_value":%q,"status":%q}`, all, all, all, all, all, all)
		}
	}
}

func leaks(text string) bool {
	return slices.ContainsFunc([]string{canary, session}, func(secret string) bool { return strings.Contains(text, secret) })
}

// output returns what f writes to the standard loggers, stdout and stderr.
func output(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	stdout, stderr, logger, writer := os.Stdout, os.Stderr, slog.Default(), log.Writer()
	os.Stdout, os.Stderr = file, file
	log.SetOutput(&logged)
	slog.SetDefault(slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer func() {
		os.Stdout, os.Stderr = stdout, stderr
		slog.SetDefault(logger)
		log.SetOutput(writer)
	}()
	f()
	file.Close()
	data, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + logged.String()
}

// An address is no place for a secret: it is in errors and logs.
func TestAddressesHoldNoSecret(t *testing.T) {
	for name, build := range providers {
		for _, address := range []string{"https://user:" + canary + "@192.0.2.1", "https://192.0.2.1/?token=" + canary, "https://192.0.2.1/#" + canary, "ftp://192.0.2.1", "192.0.2.1"} {
			_, err := build(address)
			if err == nil || !strings.Contains(err.Error(), "must be an http or https URL without user, query and fragment") || strings.Contains(err.Error(), canary) {
				t.Errorf("%s takes %s: %v", name, address, err)
			}
		}
	}
}
