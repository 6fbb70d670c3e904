package cdn

import (
	"context"
	"fmt"
	"maps"
)

// Batches coalesces the selectors and cuts them into requests that the
// provider takes, in order. It does not validate: a selector of a kind that
// the provider lacks gets a request of its own, which Validate refuses.
func Batches(caps Capabilities, selectors []Selector) [][]Selector {
	var batches [][]Selector
	size := 0
	for _, s := range Coalesce(selectors) {
		limits := caps.Kinds[s.Kind]
		cost := len(s.Value) + 1
		last := len(batches) - 1
		fits := last >= 0 && batches[last][0].Kind == s.Kind &&
			len(batches[last]) < limits.Batch &&
			(limits.Bytes == 0 || size+cost <= limits.Bytes)
		if !fits {
			batches = append(batches, nil)
			last++
			size = 0
		}
		batches[last] = append(batches[last], s)
		size += cost
	}
	return batches
}

// Purge sends selectors of any number and kind in as few requests as the
// provider takes, once each. All of them are validated before the first is
// sent. It stops at the first error; the receipt holds what was accepted until
// then. Nothing is durable here, see [Outbox] for that.
func Purge(ctx context.Context, purger Purger, request Request) (Receipt, error) {
	caps := purger.Capabilities()
	batches := Batches(caps, request.Selectors)
	if err := caps.checkAll(request, batches); err != nil {
		return Receipt{}, &Error{Provider: purger.Name(), Class: Refused, Message: err.Error(), Err: err}
	}
	total := Receipt{IDs: map[Selector]string{}}
	for _, batch := range batches {
		receipt, err := purger.Purge(ctx, request.with(batch))
		maps.Copy(total.IDs, receipt.IDs)
		if receipt.AcceptedAt.After(total.AcceptedAt) {
			total.AcceptedAt = receipt.AcceptedAt
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// checkAll names a selector by its place in the request, not in a batch.
func (c Capabilities) checkAll(r Request, batches [][]Selector) error {
	if len(batches) == 0 {
		return c.Validate(r)
	}
	for i, s := range r.Selectors {
		if err := c.Check(s, r.Soft); err != nil {
			return fmt.Errorf("request.selectors[%d]: %w", i, err)
		}
	}
	for _, batch := range batches {
		if err := c.Validate(r.with(batch)); err != nil {
			return err
		}
	}
	return nil
}

func (r Request) with(selectors []Selector) Request {
	r.Selectors = selectors
	return r
}
