package fastly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

var _ cdn.Fencer = (*Purger)(nil)

// Fence raises the item `mingen-<region>` of the service's dictionary to epoch,
// and returns when that has spread and is still there: Fastly may lose one of two
// writes that overlap. The VCL of the service has to obey it; written from the VCL
// reference, not tried at Fastly, for a dictionary that is called ebbgate there:
//
//	sub vcl_fetch {
//	  if (beresp.http.X-Ebbgate-Gen ~ "^([a-z0-9.-]+)-([0-9]{1,15})$" &&
//	      std.atoi(re.group.2) < std.atoi(table.lookup(ebbgate, "mingen-" re.group.1, "0"))) {
//	    set beresp.ttl = 0s;
//	    set beresp.cacheable = false;
//	  }
//	}
//
// An item that is high enough is left alone, so a fence is never lowered, as
// long as one Purger at a time writes to a dictionary: Fastly has no
// compare-and-swap. A write counts as one of 1,000 an hour, a read does not.
func (p *Purger) Fence(ctx context.Context, scope, region string, epoch uint64) error {
	if err := cdn.ValidateFence(scope, region, epoch); err != nil {
		return &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: err.Error(), Err: err}
	}
	dictionary, ok := p.fences[scope]
	if !ok {
		return &cdn.Error{
			Provider: p.name, Class: cdn.NotFound, Err: cdn.ErrNoFence,
			Message: fmt.Sprintf("scope %s has no dictionary in the configuration", scope),
		}
	}
	raised := item{service: scope, dictionary: dictionary, key: "mingen-" + region, epoch: epoch}
	wait, err := p.raise(ctx, raised)
	if err != nil || wait == 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return p.interrupted(ctx, "the fence is raised, but has not spread yet")
	}
	_, stands, err := p.held(ctx, raised)
	if err == nil && !stands {
		err = &cdn.Error{Provider: p.name, Class: cdn.Retryable, Message: "the fence was raised, and is not there any more"}
	}
	return err
}

type item struct {
	service, dictionary, key string
	epoch                    uint64
}

// raise returns how long the item still takes to be everywhere. One call at a
// time reads and writes, or the lower of two epochs could win.
func (p *Purger) raise(ctx context.Context, i item) (time.Duration, error) {
	select {
	case p.fencing <- struct{}{}:
		defer func() { <-p.fencing }()
	case <-ctx.Done():
		return 0, p.interrupted(ctx, "another fence is being raised")
	}
	wait, done, err := p.held(ctx, i)
	if err != nil || done {
		return wait, err
	}
	if err := p.limiter.Wait(ctx, p.name, cdn.All, 1); err != nil { // the bucket of all writes
		return 0, err
	}
	return p.spread, p.write(ctx, i)
}

// held reports whether the item is high enough, and how long that takes to
// spread. Both times are Fastly's, so that our clock does not matter; they are
// whole seconds.
func (p *Purger) held(ctx context.Context, i item) (wait time.Duration, done bool, err error) {
	ctx, answer := apihttp.WithAnswer(ctx)
	found, err := p.client.GetDictionaryItem(ctx, &api.GetDictionaryItemInput{
		ServiceID: i.service, DictionaryID: i.dictionary, ItemKey: i.key,
	})
	if answer.Status == http.StatusNotFound {
		return 0, false, nil // no item, or no dictionary: then the write says so
	}
	if err == nil && (found == nil || found.ItemValue == nil) {
		err = errors.New("the answer has no item_value")
	}
	if err != nil {
		return 0, false, p.failure(i.service, answer, err)
	}
	epoch, err := strconv.ParseUint(*found.ItemValue, 10, 64)
	if err != nil {
		return 0, false, &cdn.Error{Provider: p.name, Class: cdn.Refused, Message: fmt.Sprintf("dictionary item %s holds %.40q, not an epoch", i.key, apihttp.Redact(*found.ItemValue, p.token))}
	}
	if epoch < i.epoch {
		return 0, false, nil
	}
	now, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || found.UpdatedAt == nil {
		return p.spread, true, nil
	}
	return min(p.spread, max(0, p.spread+time.Second-now.Sub(*found.UpdatedAt))), true, nil
}

// write inserts or updates. It does not use Client.UpdateDictionaryItem, which
// takes the lock that ignores the context.
func (p *Purger) write(ctx context.Context, i item) error {
	value := strconv.FormatUint(i.epoch, 10)
	ctx, answer := apihttp.WithAnswer(ctx)
	options := api.CreateRequestOptions()
	form := url.Values{"item_value": {value}}.Encode()
	options.Headers["Content-Type"] = "application/x-www-form-urlencoded"
	options.Body, options.BodyLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
	path := api.ToSafeURL("service", i.service, "dictionary", i.dictionary, "item", i.key)
	req, err := p.client.RawRequest(ctx, http.MethodPut, path, options)
	if err != nil {
		return p.failure(i.service, answer, err)
	}
	var written *api.DictionaryItem
	err = p.send(req, &written)
	if err == nil && (written == nil || api.ToValue(written.ItemValue) != value) {
		err = fmt.Errorf("the answer does not say that %s is %s", i.key, value)
	}
	if err != nil {
		return p.failure(i.service, answer, err)
	}
	return nil
}

func (p *Purger) interrupted(ctx context.Context, message string) *cdn.Error {
	return &cdn.Error{Provider: p.name, Class: cdn.Retryable, Message: message, Err: ctx.Err()}
}
