package fastly

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

// obeys does what the VCL in the comment of Fence does.
func obeys(remote *cdntest.Fastly, gen string) bool {
	region, epoch, err := cdn.ParseGen(gen)
	if err != nil {
		return true
	}
	least, _ := strconv.ParseUint(remote.Item(service, dictionary, "mingen-"+region), 10, 64)
	return epoch >= least
}

func TestFenceFaults(t *testing.T) {
	for name, test := range map[string]struct {
		faults []cdntest.Fault // of the read, then of the write
		class  cdn.Class
	}{
		"read fails":        {[]cdntest.Fault{{Status: 503}}, cdn.Retryable},
		"read without item": {[]cdntest.Fault{{Body: `{"item_key":"mingen-eu"}`}}, cdn.Unknown},
		"no permission":     {[]cdntest.Fault{{}, {Status: 403}}, cdn.Auth},
		"too many writes":   {[]cdntest.Fault{{}, {Status: 429}}, cdn.RateLimited},
		"no dictionary":     {[]cdntest.Fault{{Status: 404}, {Status: 404}}, cdn.NotFound},
		"another value":     {[]cdntest.Fault{{}, {Body: `{"item_value":"3"}`}}, cdn.Unknown},
		"lost write":        {[]cdntest.Fault{{}, {LoseReply: true}}, cdn.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			remote, p := start(t, cdntest.FastlyConfig{})
			remote.Inject(test.faults...)
			err := p.Fence(t.Context(), service, "eu", 17)
			if cdn.ClassOf(err) != test.class {
				t.Errorf("error %v, want %s", err, test.class)
			}
			if err := p.Fence(t.Context(), service, "eu", 17); err != nil || obeys(remote, "eu-16") {
				t.Errorf("the repetition: %v", err)
			}
		})
	}
}

func TestFenceOfOthers(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{CallsPerHour: 1})
	remote.SetItem(service, dictionary, "mingen-eu", "18")
	if err := p.Fence(t.Context(), service, "eu", 17); err != nil || remote.Item(service, dictionary, "mingen-eu") != "18" {
		t.Errorf("item %s, %v", remote.Item(service, dictionary, "mingen-eu"), err)
	}
	remote.SetItem(service, dictionary, "mingen-eu", "eighteen")
	if err := p.Fence(t.Context(), service, "eu", 17); cdn.ClassOf(err) != cdn.Refused {
		t.Errorf("an item that is no epoch: %v", err)
	}
	err := p.Fence(t.Context(), "other", "eu", 17)
	if !errors.Is(err, cdn.ErrNoFence) {
		t.Errorf("a service without dictionary: %v", err)
	}
	for _, test := range []struct {
		region string
		class  cdn.Class
	}{{"us", ""}, {"us", ""}, {"ap", cdn.RateLimited}} { // reading costs nothing
		if err := p.Fence(t.Context(), service, test.region, 1); err != nil && cdn.ClassOf(err) != test.class || err == nil && test.class != "" {
			t.Errorf("%s: %v, want %q", test.region, err, test.class)
		}
	}
}

// Overlapping writes to one service may be lost at Fastly: what is not there any more once
// it has spread is no fence.
func TestFenceThatWasLost(t *testing.T) {
	for name, test := range map[string]struct {
		reread cdntest.Fault
		class  cdn.Class
	}{
		"undone":    {cdntest.Fault{Body: `{"item_key":"mingen-eu","item_value":"16"}`}, cdn.Retryable},
		"deleted":   {cdntest.Fault{Status: 404}, cdn.Retryable},
		"no answer": {cdntest.Fault{Status: 503}, cdn.Retryable},
	} {
		t.Run(name, func(t *testing.T) {
			remote, p := start(t, cdntest.FastlyConfig{})
			remote.Inject(cdntest.Fault{}, cdntest.Fault{}, test.reread)
			if err := p.Fence(t.Context(), service, "eu", 17); err == nil || cdn.ClassOf(err) != test.class {
				t.Errorf("%v, want %s", err, test.class)
			}
			if err := p.Fence(t.Context(), service, "eu", 17); err != nil || obeys(remote, "eu-16") {
				t.Errorf("the repetition: %v", err)
			}
		})
	}
}

// An interrupted wait is taken up where it was: the item tells since when.
func TestFenceWaitsOnlyForTheRest(t *testing.T) {
	remote, p := start(t, cdntest.FastlyConfig{})
	p.spread = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Fence(ctx, service, "eu", 17) }()
	for remote.Item(service, dictionary, "mingen-eu") == "" || len(p.fencing) > 0 {
		time.Sleep(time.Millisecond) // until it is raised and waits
	}
	cancel()
	if err := <-done; cdn.ClassOf(err) != cdn.Retryable || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	calls := remote.Calls()
	p.spread = time.Minute
	remote.SetItem(service, dictionary, "mingen-eu", "17") // an hour ago
	if err := p.Fence(t.Context(), service, "eu", 17); err != nil || remote.Calls() != calls+1 {
		t.Errorf("%v after %d calls", err, remote.Calls()-calls)
	}
}
