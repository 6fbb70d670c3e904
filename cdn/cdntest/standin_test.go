package cdntest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
)

// post sends one request and returns the status, the header and the body.
func post(t *testing.T, h http.Handler, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFastlyLimits(t *testing.T) {
	f := NewFastly(FastlyConfig{Token: "t", Services: []string{"svc"}, CallsPerHour: 2})
	keys := func(n int) string { return strings.TrimSpace(strings.Repeat("k ", n)) }
	for _, test := range []struct {
		path, token, keys string
		want              int
	}{
		{"/service/svc/purge", "t", keys(256), 200},
		{"/service/svc/purge", "t", keys(257), 400},
		{"/service/svc/purge", "t", "", 400},
		{"/service/svc/purge/k", "t", "", 200},
		{"/service/svc/purge_all", "t", "", 200},
		{"/service/svc/purge_all", "t", "", 200},
		{"/service/svc/purge_all", "t", "", 429},
		{"/service/svc/purge", "t", "k", 200}, // exempt from the hourly limit
		{"/service/svc/purge", "wrong", "k", 401},
		{"/service/other/purge", "t", "k", 404},
		{"/service/svc/version", "t", "", 404},
		{"/purge/www.example.com/a?b=1", "", "", 200}, // needs no token
	} {
		w := post(t, f, test.path, "", "Fastly-Key", test.token, "Surrogate-Key", test.keys)
		if w.Code != test.want {
			t.Errorf("%s %.10q: status %d, want %d: %s", test.path, test.keys, w.Code, test.want, w.Body)
		}
		if limited := w.Header().Get("Fastly-RateLimit-Reset") != ""; limited != strings.HasSuffix(test.path, "_all") {
			t.Errorf("%s: rate limit headers: %v", test.path, limited)
		}
	}
	purges := f.Purges()
	last := purges[len(purges)-1]
	if diff := cmp.Diff([]cdn.Selector{{Kind: cdn.URL, Value: "https://www.example.com/a?b=1"}}, last.Selectors); diff != "" || last.At.IsZero() {
		t.Errorf("at %s: %s", last.At, diff)
	}
	w := post(t, f, "/service/svc/purge", `{"surrogate_keys":["a","b"]}`, "Fastly-Key", "t")
	if body, _ := io.ReadAll(w.Body); w.Code != 200 || !strings.Contains(string(body), `"b":"108-`) {
		t.Errorf("keys in a body: %d %s", w.Code, body)
	}
}

func TestCloudflareLimits(t *testing.T) {
	c := NewCloudflare(CloudflareConfig{Token: "t", Zones: []string{"zone"}, Burst: 2, Rate: 0.001})
	tags := func(n int) string { return fmt.Sprintf(`{"tags":["a"%s]}`, strings.Repeat(`,"a"`, n-1)) }
	for _, test := range []struct {
		body, zone, token string
		want, code        int
	}{
		{tags(101), "zone", "t", 400, 1014},
		{``, "zone", "t", 400, 1014},
		{`{}`, "zone", "t", 400, 1014},
		{`{"tags":"a"}`, "zone", "t", 400, 1014},
		{`{"tags":["a"],"hosts":["b"]}`, "zone", "t", 400, 1014},
		{tags(1), "other", "t", 400, 7003},
		{tags(1), "zone", "wrong", 403, 10000},
		{tags(100), "zone", "t", 200, 0},
		{`{"purge_everything":true}`, "zone", "t", 200, 0},
		{tags(1), "zone", "t", 429, 971},
		{`{"files":["https://www.example.com/"]}`, "zone", "t", 200, 0}, // another quota
	} {
		w := post(t, c, "/client/v4/zones/"+test.zone+"/purge_cache", test.body, "Authorization", "Bearer "+test.token)
		if w.Code != test.want || test.code != 0 && !strings.Contains(w.Body.String(), fmt.Sprintf(`"code":%d`, test.code)) {
			t.Errorf("%.40s: status %d, want %d code %d: %s", test.body, w.Code, test.want, test.code, w.Body)
		}
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if n := len(c.Purges()); n != 3 {
		t.Errorf("%d purges recorded", n)
	}
}
