package apihttp

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"-7":                            0,
		"1e3":                           0,
		"soon":                          0,
		"86400":                         5 * time.Minute,
		"99999999999999999999":          0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0,
		"Sat, 03 Jan 2026 03:00:00 GMT": 5 * time.Minute,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", text, got, want)
		}
	}
	h := http.Header{}
	h.Set("Fastly-RateLimit-Reset", "1767323105") // a minute after now
	if got := retryAfter(h, now); got != time.Minute {
		t.Errorf("Fastly's reset: %s", got)
	}
}

func TestRedact(t *testing.T) {
	got := Redact("bad key s3cret\r\nX: \x00\u2028y\u202e\u0085 \xff "+strings.Repeat("é", 400), "s3cret")
	if strings.Contains(got, "s3cret") || strings.ContainsAny(got, "\r\n\x00\u2028\u202e\u0085") || len(got) > 310 {
		t.Errorf("%q", got)
	}
	if !strings.HasPrefix(got, "bad key [redacted]") || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7", "")
	f.Add("Fri, 02 Jan 2026 03:05:05 GMT", "1767323105")
	f.Fuzz(func(t *testing.T, after, reset string) {
		h := http.Header{"Retry-After": {after}, "Fastly-Ratelimit-Reset": {reset}}
		if wait := retryAfter(h, time.Now()); wait < 0 || wait > maxRetryAfter {
			t.Errorf("%q %q: %s", after, reset, wait)
		}
	})
}
