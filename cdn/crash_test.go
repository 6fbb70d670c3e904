package cdn_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/cdn/fastly"
)

const (
	crashDB  = "CDN_CRASH_TEST_DB"
	crashAPI = "CDN_CRASH_TEST_API"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashDB); path != "" {
		if err := victim(path, os.Getenv(crashAPI)); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func openOutbox(path, api string) (*cdn.Outbox, *bbolt.DB, error) {
	purger, err := fastly.New(fastly.Config{Token: "t", Endpoint: api, Timeout: 5 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	o, err := cdn.NewOutbox(cdn.OutboxConfig{
		DB: db, Purgers: []cdn.Purger{purger}, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	return o, db, err
}

func crashItem(n uint64) cdn.Item {
	return cdn.Item{
		Provider: "fastly", Scope: "svc", App: "waf", Region: "eu-west", Epoch: n, Round: 1,
		Selector: cdn.Selector{Kind: cdn.Key, Value: fmt.Sprintf("rules@eu-west-%d", n)},
	}
}

// victim submits one item after the other and says so, until it is killed.
func victim(path, api string) error {
	o, _, err := openOutbox(path, api)
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed := make(chan error, 1)
	go func() { failed <- o.Run(ctx) }()
	for n := uint64(len(o.List(cdn.Filter{})) + 1); ; n++ {
		ids, err := o.Submit(ctx, []cdn.Item{crashItem(n)})
		if err != nil {
			return err
		}
		fmt.Println("submitted", n)
		if n%3 == 0 {
			if _, err := o.Wait(ctx, ids...); err != nil {
				return err
			}
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}

// Whatever Submit acknowledged is purged, although the process is killed at
// arbitrary moments and answers are lost.
func TestKilledProcessLosesNoPurge(t *testing.T) {
	remote := cdntest.NewFastly(cdntest.FastlyConfig{Token: "t"})
	server := httptest.NewServer(remote)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "state.db")
	acknowledged := uint64(0)
	for round := range 12 {
		remote.Inject(cdntest.Fault{LoseReply: true}, cdntest.Fault{}, cdntest.Fault{LoseRequest: true}, cdntest.Fault{Status: 503})
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDB+"="+path, crashAPI+"="+server.URL)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(20); left > 0 && lines.Scan(); left-- {
			if _, err := fmt.Sscanf(lines.Text(), "submitted %d", &acknowledged); err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died counts too
			if strings.HasPrefix(lines.Text(), "submitted") {
				_, _ = fmt.Sscanf(lines.Text(), "submitted %d", &acknowledged)
			}
		}
		_ = cmd.Wait()
	}
	if acknowledged < 12 {
		t.Fatalf("only %d items were submitted", acknowledged)
	}

	o, db, err := openOutbox(path, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var ids []cdn.ID
	inFlight := 0
	for _, e := range o.List(cdn.Filter{}) {
		ids = append(ids, e.ID)
		if e.Open() {
			inFlight++
		}
	}
	t.Logf("%d items, %d still open after the last kill, %d calls", len(ids), inFlight, remote.Calls())
	if uint64(len(ids)) < acknowledged {
		t.Errorf("%d of %d acknowledged items are on disk", len(ids), acknowledged)
	}
	stop := runOutbox(t, o)
	defer stop()
	entries, err := o.Wait(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	purged := map[cdn.Selector]bool{}
	for _, p := range remote.Purges() {
		for _, s := range p.Selectors {
			purged[s] = true
		}
	}
	for _, e := range entries {
		if e.State != cdn.StateAccepted || !purged[e.Item.Selector] {
			t.Errorf("%s is %s, purged %v: %s", e.Item.Selector, e.State, purged[e.Item.Selector], e.Reason)
		}
	}
}

// runOutbox runs o until the returned function is called.
func runOutbox(t *testing.T, o *cdn.Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
