package provider

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
	"github.com/ebbgate/ebbgate/wire"
)

// A provider that does not answer when a release is activated is like a bus that is not
// connected, as long as nothing was written.
func TestAnOutageWhileActivating(t *testing.T) {
	for name, test := range map[string]struct {
		call    int // that is put off for a minute
		passing bool
	}{
		"before anything is written": {1, true},
		"at the write":               {2, false},
	} {
		t.Run(name, func(t *testing.T) {
			remote := configtest.NewFastly(configtest.Token)
			api := httptest.NewServer(remote)
			defer api.Close()
			remote.SetItems(configtest.DictionaryPath("S1", "D1"), 100, map[string]string{})
			target := Target{
				Kind: "fastly-dictionary", TokenFile: write(t, t.TempDir(), "token", configtest.Token), Endpoint: api.URL,
				Service: "S1", Dictionary: "D1", Settle: 1, Timeout: wire.Duration(time.Second / 2),
			}
			d, err := target.open(dataplane.Config{App: "waf", Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
			check(t, err)
			r := dataplane.Release{App: "waf", Epoch: 1, Version: "1.0.0", Dir: t.TempDir()}
			write(t, r.Dir, "dictionary.json", `{"front": "500"}`)
			check(t, d.Validate(t.Context(), r))
			remote.At(test.call, configtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "60"})
			err = d.Activate(t.Context(), r)
			if err == nil || errors.Is(err, wire.ErrDisconnected) != test.passing {
				t.Errorf("%v, want one of a connection: %v", err, test.passing)
			}
			check(t, d.Activate(t.Context(), r))
		})
	}
}
