package gate_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

// The question is a protocol: whoever answers it is written by somebody else.
func TestQuestion(t *testing.T) {
	var body []byte
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"verdict":"pass"}`)
	})
	if _, err := open(t, "webhook", url+"/judge?team=edge", time.Minute).Read(t.Context(), measure()); err != nil {
		t.Fatal(err)
	}
	const want = `{"app":"edge","rollout":"r1","version":"2","region":"ams","epoch":7,"step":1,"gate":"errors","round":3,"cohort":["a1","a2"],"rest":["a3"]}`
	if string(body) != want {
		t.Errorf("asked %s\nwant  %s", body, want)
	}
}

func TestVerdicts(t *testing.T) {
	for body, want := range map[string]rollout.Measured{
		`{"verdict":"pass"}`: {Verdict: rollout.VerdictPass},
		`{"verdict":"fail","reason":"three alerts\nare firing"}`:         {Verdict: rollout.VerdictFail, Reason: "three alerts are firing"},
		` {"reason":"still counting","verdict":"wait"} `:                 {Verdict: rollout.VerdictNone, Reason: "still counting"},
		`{"verdict":"fail","reason":"\u001b[31mcanary-\"7f3a\\"}`:        {Verdict: rollout.VerdictFail, Reason: "[31m[redacted]"},
		`{"verdict":"pass","reason":"` + strings.Repeat("é", 999) + `"}`: {Verdict: rollout.VerdictPass, Reason: strings.Repeat("é", 150) + "…"},
	} {
		m, err := open(t, "webhook", serve(t, say(200, body)), time.Minute).Read(t.Context(), measure())
		if err != nil {
			t.Errorf("%.80s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("%.80s (-want +got):\n%s", body, diff)
		}
	}
}
