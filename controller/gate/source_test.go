package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller/gate"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// canary is a token that may appear in one header and nowhere else.
const canary = `canary-"7f3a\`

// reader is either kind of source.
type reader interface {
	Read(ctx context.Context, m rollout.Measure) (rollout.Measured, error)
}

// kinds make a source of each kind.
var kinds = map[string]func(gate.Config) (reader, error){
	"prometheus": func(c gate.Config) (reader, error) { return gate.NewPrometheus(c) },
	"webhook":    func(c gate.Config) (reader, error) { return gate.NewWebhook(c) },
}

// serve starts a stand-in until the end of the test and returns its URL.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func open(t *testing.T, kind, url string, timeout time.Duration) reader {
	t.Helper()
	r, err := kinds[kind](gate.Config{URL: url, Token: canary, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func measure() rollout.Measure {
	return rollout.Measure{
		App: "edge", Rollout: "r1", Version: "2", Region: "ams", Epoch: 7, Step: 1, Round: 3,
		Gate:   rollout.Gate{Name: "errors", Query: `sum(errors{agent=~"$agents"})`},
		Cohort: []wire.AgentID{"a1", "a2"}, Rest: []wire.AgentID{"a3"},
	}
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func vector(numbers ...string) string { return vectorOf(time.Now(), numbers...) }

func vectorOf(at time.Time, numbers ...string) string {
	var series []string
	for _, n := range numbers {
		series = append(series, fmt.Sprintf(`{"metric":{"agent":"x"},"value":[%d.1,%q]}`, at.Unix(), n))
	}
	return fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(series, ","))
}

// hang answers nothing until the client has gone, which the server sees once the body is read.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// Whatever is not a plain answer is an error of one bounded line that holds neither the
// token, even if the source says it, nor the URL.
func TestNoAnswer(t *testing.T) {
	hidden, err := json.Marshal(canary)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		does http.HandlerFunc
		only string // kind; empty: both
		want string
	}{
		"slow":      {hang, "", "not within 200ms"},
		"slow body": {func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); hang(w, r) }, "", "not within 200ms"},
		"huge body": {say(200, strings.Repeat(" ", 2<<20)), "", "is larger than"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte("{"))
		}, "", "ended early"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "", "it answers 307 Temporary Redirect, and redirects are not followed"},
		"empty":          {say(200, ""), "", "no JSON value|end of JSON"},
		"no JSON":        {say(200, "<html>"), "", "invalid character"},
		"two documents":  {say(200, `{} {}`), "", "after"},
		"a list":         {say(200, `[1]`), "", "object|array"},
		"500":            {say(500, "oops "+canary), "", "it answers 500 Internal Server Error"},
		"204":            {say(204, ""), "", "it answers 204 No Content"},
		"unknown status": {say(299, "{}"), "", "it answers 299"},

		"refused":       {say(400, `{"status":"error","errorType":"bad_data","error":"parse\nerror `+strings.Repeat("x", 999)+`"}`), "prometheus", "it answers 400 Bad Request: bad_data: parse error x"},
		"says token":    {say(422, `{"status":"error","errorType":"execution","error":`+string(hidden)+`}`), "prometheus", "it answers 422 Unprocessable Entity: execution: [redacted]"},
		"error in 200":  {say(200, `{"status":"error","errorType":"timeout","error":"too slow"}`), "prometheus", `it reports "error": timeout: too slow`},
		"no status":     {say(200, `{"data":{"resultType":"vector","result":[]}}`), "prometheus", `it reports ""`},
		"warning":       {say(200, `{"status":"success","warnings":["a store is out of reach"],"data":{"resultType":"scalar","result":[1,"1"]}}`), "prometheus", "it warns: a store is out of reach"},
		"two numbers":   {say(200, vector("1", "2")), "prometheus", "it gives 2 numbers; the query must give one"},
		"matrix":        {say(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), "prometheus", `a result of type "matrix"`},
		"string":        {say(200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`), "prometheus", `a result of type "string"`},
		"no data":       {say(200, `{"status":"success"}`), "prometheus", `a result of type ""`},
		"histogram":     {say(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`), "prometheus", "histogram"},
		"no number":     {say(200, vector("one")), "prometheus", "not a time and a number"},
		"no value":      {say(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}`), "prometheus", "not a time and a number"},
		"three values":  {say(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"1","2"]}}`), "prometheus", "3 elements"},
		"1970":          {say(200, vectorOf(time.Unix(1, 0), "1")), "prometheus", " s old, not of now"},
		"1970, NaN":     {say(200, vectorOf(time.Unix(1, 0), "NaN")), "prometheus", " s old, not of now"},
		"too old":       {say(200, vectorOf(time.Now().Add(-6*time.Minute), "1")), "prometheus", "its value is 3"},
		"too new":       {say(200, vectorOf(time.Now().Add(2*time.Minute), "1")), "prometheus", "its value is -1"},
		"no time":       {say(200, `{"status":"success","data":{"resultType":"scalar","result":[1e300,"1"]}}`), "prometheus", " s old, not of now"},
		"number, naked": {say(200, `{"status":"success","data":{"resultType":"scalar","result":[1,1]}}`), "prometheus", "not a time and a number"},

		"unknown verdict": {say(200, `{"verdict":"perhaps"}`), "webhook", `its verdict is "perhaps", want pass, fail or wait`},
		"verdict: token":  {say(200, `{"verdict":`+string(hidden)+`}`), "webhook", `its verdict is "[redacted]"`},
		"no verdict":      {say(200, `{}`), "webhook", `its verdict is ""`},
		"PASS":            {say(200, `{"verdict":"PASS"}`), "webhook", `"PASS"`},
		"Verdict":         {say(200, `{"Verdict":"pass"}`), "webhook", "Verdict"},
		"two verdicts":    {say(200, `{"verdict":"fail","verdict":"pass"}`), "webhook", "verdict"},
		"one field more":  {say(200, `{"verdict":"pass","score":1}`), "webhook", "score"},
		"a field: token":  {say(200, `{`+string(hidden)+`:1}`), "webhook", "[redacted]"},
		"not UTF-8":       {say(200, "{\"verdict\":\"pass\",\"reason\":\"\xff\"}"), "webhook", "not UTF-8"},
	} {
		for kind := range kinds {
			if c.only != "" && c.only != kind {
				continue
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				url, timeout := serve(t, c.does), time.Minute
				if strings.Contains(c.want, "200ms") {
					timeout = 200 * time.Millisecond
				}
				m, err := open(t, kind, url, timeout).Read(t.Context(), measure())
				if err == nil {
					t.Fatalf("it is %+v, want an error", m)
				}
				found := false
				for want := range strings.SplitSeq(c.want, "|") {
					found = found || strings.Contains(err.Error(), want)
				}
				if !found {
					t.Errorf("error %q does not say %q", err, c.want)
				}
				plain(t, err, url)
				if diff := cmp.Diff(rollout.Measured{}, m); diff != "" {
					t.Errorf("something was measured beside the error (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// plain checks that an error can be shown to anybody.
func plain(t *testing.T, err error, url string) {
	t.Helper()
	text := fmt.Sprintf("%v %+v", err, err)
	for _, secret := range []string{canary, "canary", "7f3a", url + "/"} {
		if strings.Contains(text, secret) {
			t.Errorf("error %q holds %q", text, secret)
		}
	}
	if strings.ContainsAny(text, "\n\r") || len(err.Error()) > 400 {
		t.Errorf("error of %d bytes is not one short line: %q", len(err.Error()), err)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for kind := range kinds {
		_, err := open(t, kind, server.URL, time.Second).Read(t.Context(), measure())
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		plain(t, err, server.URL)
	}
}

// A reading ends with its context.
func TestCancel(t *testing.T) {
	for kind := range kinds {
		ctx, cancel := context.WithCancel(t.Context())
		url := serve(t, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
		if _, err := open(t, kind, url, time.Hour).Read(ctx, measure()); err == nil {
			t.Errorf("%s: no error", kind)
		}
	}
}

// The token travels in its header alone, and the question says which one it is.
func TestHeaders(t *testing.T) {
	for kind := range kinds {
		var got *http.Request
		var body []byte
		url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
		})
		_, _ = open(t, kind, url+"/base", time.Minute).Read(t.Context(), measure())
		if got == nil || got.Method != http.MethodPost || !strings.HasPrefix(got.URL.Path, "/base") || got.URL.RawQuery != "" {
			t.Fatalf("%s asked %+v", kind, got)
		}
		if auth := got.Header.Values("Authorization"); len(auth) != 1 || auth[0] != "Bearer "+canary {
			t.Errorf("%s: Authorization is %q", kind, auth)
		}
		if id := got.Header.Get("Idempotency-Key"); id != "measure/edge/ams/7/errors/3" {
			t.Errorf("%s: Idempotency-Key is %q", kind, id)
		}
		got.Header.Del("Authorization")
		if all := fmt.Sprint(got.Header, got.URL, string(body)); strings.Contains(all, "canary") {
			t.Errorf("%s says its token elsewhere: %s", kind, all)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  gate.Config
		only string
		want string
	}{
		"no URL":      {gate.Config{}, "", "url is not"},
		"no host":     {gate.Config{URL: "http://"}, "", "url is not"},
		"scheme":      {gate.Config{URL: "file:///etc/passwd"}, "", "url is not"},
		"unreadable":  {gate.Config{URL: "http://u:" + canary + "@x:y"}, "", "url is not"},
		"user":        {gate.Config{URL: "https://u:canary@example.com"}, "", "user or password"},
		"fragment":    {gate.Config{URL: "https://example.com/#x"}, "", "fragment"},
		"query":       {gate.Config{URL: "https://example.com/?x=1"}, "prometheus", "query"},
		"token":       {gate.Config{URL: "https://example.com", Token: "canary\n"}, "", "not printable"},
		"negative":    {gate.Config{URL: "https://example.com", Timeout: -1}, "", "negative"},
		"relative":    {gate.Config{URL: "metrics:9090"}, "", "url is not"},
		"upper, fine": {gate.Config{URL: "HTTPS://example.com"}, "", ""},
	} {
		for kind, make := range kinds {
			if c.only != "" && c.only != kind {
				continue
			}
			_, err := make(c.cfg)
			if c.want == "" && err == nil {
				continue
			}
			if err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, %s: error %v, want one of %q without secrets", name, kind, err, c.want)
			}
		}
	}
}
