package gate

import (
	"math"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

// FuzzAnswer reads the answers of both kinds of source: whatever they hold, what comes of it
// is a finite number, a known verdict or a short line.
func FuzzAnswer(f *testing.F) {
	const token = "canary"
	for _, seed := range []string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}`,
		`{"status":"success","warnings":["x"],"data":{"resultType":"scalar","result":[1,"NaN"]}}`,
		`{"status":"error","errorType":"bad_data","error":"canary"}`,
		`{"verdict":"pass","reason":"fine"}`, `{"verdict":"canary"}`,
	} {
		f.Add(200, []byte(seed))
		f.Add(422, []byte(seed))
	}
	s, err := newSource(Config{URL: "http://127.0.0.1", Token: token})
	if err != nil {
		f.Fatal(err)
	}
	check := func(t *testing.T, text string) {
		if len(text) > maxText+100 || strings.ContainsAny(text, "\n\r\x1b") || strings.Contains(text, token) {
			t.Errorf("not fit to be shown: %q", text)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		n, err := (&Prometheus{s}).number(status, body)
		switch {
		case err != nil:
			check(t, err.Error())
		case n != nil && (math.IsNaN(*n) || math.IsInf(*n, 0)):
			t.Errorf("it is %v", *n)
		}
		m, err := (&Webhook{s}).verdict(body)
		if err != nil {
			check(t, err.Error())
			return
		}
		check(t, m.Reason)
		switch m.Verdict {
		case rollout.VerdictPass, rollout.VerdictFail, rollout.VerdictNone:
		default:
			t.Errorf("verdict %q", m.Verdict)
		}
	})
}
