package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/wire"
)

// StandIns play Fastly and Cloudflare over HTTP. Every region has a service at the one
// and a zone at the other.
type StandIns struct {
	Fastly     *cdntest.Fastly
	Cloudflare *cdntest.Cloudflare
	servers    []*http.Server
	urls       [2]string
}

const standInToken = "lab-token-of-a-stand-in"

func startStandIns() (*StandIns, error) {
	s := &StandIns{
		Fastly:     cdntest.NewFastly(cdntest.FastlyConfig{Token: standInToken}),
		Cloudflare: cdntest.NewCloudflare(cdntest.CloudflareConfig{Token: standInToken}),
	}
	for i, h := range []http.Handler{s.Fastly, s.Cloudflare} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		s.servers, s.urls[i] = append(s.servers, srv), "http://"+l.Addr().String()
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				panic(err) // the listener is ours and open
			}
		}()
	}
	return s, nil
}

func (s *StandIns) close() {
	for _, srv := range s.servers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
		cancel()
	}
}

// providers is their part of the providers section of controller.yaml.
func (s *StandIns) providers() string {
	return fmt.Sprintf(`fastly: {kind: fastly, token_file: standin.token, endpoint: "%s"}
cloudflare: {kind: cloudflare, token_file: standin.token, plan: enterprise, endpoint: "%s/client/v4/"}
`, s.urls[0], s.urls[1])
}

// targets is a region's cdn section of controller.yaml.
func (s *StandIns) targets(r wire.Region) string {
	return fmt.Sprintf(`cdn:
- {provider: fastly, scope: service-%s}
- {provider: cloudflare, scope: %s}
`, r, Zone(r))
}

// Zone is the Cloudflare zone of a region: 32 hexadecimal digits, as real ones are.
func Zone(r wire.Region) string { return wire.DigestOf([]byte(r)).String()[:32] }

func (s *StandIns) writeTokens(dir string) error {
	return os.WriteFile(filepath.Join(dir, "standin.token"), []byte(standInToken+"\n"), 0o600)
}

// Purges returns every purge that the stand-ins have carried out in a region, in order of
// arrival at each.
func (s *StandIns) Purges(r wire.Region) []cdntest.Purge {
	var all []cdntest.Purge
	for _, p := range append(s.Fastly.Purges(), s.Cloudflare.Purges()...) {
		if strings.HasSuffix(p.Scope, "-"+string(r)) || p.Scope == Zone(r) {
			all = append(all, p)
		}
	}
	return all
}
