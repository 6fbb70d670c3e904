package dataplane

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/tags"
)

const (
	switches    = 20
	maxRequests = 20_000
)

// TestNoRequestIsLost sends requests that are never repeated while releases are
// switched: a client that retries would hide what is lost. Each answer has to be of
// one release from its header to its body.
func TestNoRequestIsLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind  Kind
		fresh bool // a connection for each request; nginx closes kept-alive ones when it reloads
	}{{KindBuiltin, false}, {KindBuiltin, true}, {KindNginx, true}} {
		t.Run(fmt.Sprintf("%s fresh=%v", tt.kind, tt.fresh), func(t *testing.T) {
			p := newPlane(t, tt.kind)
			d := p.open(t)
			one, two := p.release(t, 1, p.good("1.1")), p.release(t, 2, p.good("1.2"))
			p.switchTo(t, d, one)

			stop := make(chan struct{})
			var requests, failures int
			var first error
			var client sync.WaitGroup
			client.Go(func() {
				c := &onceClient{addr: p.cfg.Listen, fresh: tt.fresh}
				defer c.close()
				pace := time.NewTicker(200 * time.Microsecond)
				defer pace.Stop()
				for requests < maxRequests {
					select {
					case <-stop:
						return
					case <-pace.C:
					}
					requests++
					if err := c.get("/page"); err != nil {
						if failures++; first == nil {
							first = err
						}
					}
				}
			})
			for i := range switches {
				p.switchTo(t, d, []Release{two, one}[i%2])
			}
			close(stop)
			client.Wait()
			t.Logf("%d requests, %d switches", requests, switches)
			if failures > 0 || requests < switches {
				t.Errorf("%d of %d requests failed, the first: %v", failures, requests, first)
			}
		})
	}
}

// onceClient never repeats a request. Pages hold their release's version.
type onceClient struct {
	addr  string
	fresh bool
	conn  net.Conn
	read  *bufio.Reader
}

func (c *onceClient) get(path string) (err error) {
	if c.conn == nil {
		if c.conn, err = net.Dial("tcp", c.addr); err != nil {
			return err
		}
		c.read = bufio.NewReader(c.conn)
	}
	defer func() {
		if err != nil || c.fresh {
			c.close()
		}
	}()
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.read, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	if shown := res.Header.Get(tags.HeaderRelease); !strings.HasPrefix(shown, string(body)+"-") {
		return fmt.Errorf("header of %s, body of %s", shown, body)
	}
	return nil
}

func (c *onceClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// TestNotModifiedIsOfTheSameBytes revalidates across a switch between files of equal
// size.
func TestNotModifiedIsOfTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind  Kind
		equal bool // equal modification times too
		want  string
	}{
		{KindBuiltin, true, "200 two"},
		{KindNginx, false, "200 two"},
		// The trap that stamping is for: without it nginx says that nothing has changed.
		{KindNginx, true, "304 "},
	} {
		t.Run(fmt.Sprintf("%s equal=%v", tt.kind, tt.equal), func(t *testing.T) {
			p := newPlane(t, tt.kind)
			d := p.open(t)
			one, two := p.release(t, 1, p.good("one")), p.release(t, 2, p.good("two"))
			p.switchTo(t, d, one)
			old, err := get(t.Context(), d.Traits().URL+"/page")
			if err != nil {
				t.Fatal(err)
			}
			p.prepare(t, two)
			if tt.equal {
				info, err := os.Stat(filepath.Join(one.Dir, "site/page"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(filepath.Join(two.Dir, "site/page"), info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Activate(t.Context(), two); err != nil {
				t.Fatal(err)
			}
			p.mustConfirm(t, d, two)
			if got := revalidate(t, d.Traits().URL+"/page", old.header); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// revalidate asks as a cache that holds an answer with these headers does.
func revalidate(t *testing.T, url string, held http.Header) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := held.Get("ETag"); v != "" {
		req.Header.Set("If-None-Match", v)
	}
	if v := held.Get("Last-Modified"); v != "" {
		req.Header.Set("If-Modified-Since", v)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, body)
}
