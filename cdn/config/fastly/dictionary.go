package fastly

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// DictionaryFile holds what a release wants of a dictionary: {key: value}.
const DictionaryFile = "dictionary.json"

// Dictionary is an edge dictionary of a VCL service. A write-only one cannot be read
// back, and so is no target.
type Dictionary struct {
	client
	exact
	service, dictionary string
	items               int
}

// NewDictionary checks the ids; it does not talk to Fastly. maxItems is for accounts
// with another limit than 1,000 items; 0 is that.
func NewDictionary(a Account, service, dictionary string, maxItems int) (*Dictionary, error) {
	if err := checkID("service", service); err != nil {
		return nil, err
	}
	if err := checkID("dictionary", dictionary); err != nil {
		return nil, err
	}
	c, err := newClient(a, service, fmt.Sprintf("dictionary %s of service %s", dictionary, service))
	if maxItems == 0 {
		maxItems = 1000
	}
	return &Dictionary{client: c, service: service, dictionary: dictionary, items: maxItems}, err
}

// Limits: docs.fastly.com, "Network services resource limits", and the API page of
// dictionary items; about 30 s until an item is everywhere.
func (d *Dictionary) Limits() config.Limits {
	return config.Limits{Batch: api.BatchModifyMaximumOperations, Items: d.items, Settle: 30 * time.Second, Keeps: true}
}

func (d *Dictionary) Load(files fs.FS) (config.Content, error) {
	return loadPairs(files, DictionaryFile, 256, 8000)
}

func (d *Dictionary) Read(ctx context.Context, _ []string) (config.State, error) {
	items, err := pages(func(page, perPage int) (items []*api.DictionaryItem, err error) {
		err = d.call(ctx, "read", func(ctx context.Context) (err error) {
			items, err = d.GetDictionaryItems(ctx, &api.GetDictionaryItemsInput{
				ServiceID: d.service, DictionaryID: d.dictionary, Page: &page, PerPage: &perPage,
			}).GetNext()
			return err
		})
		return items, err
	})
	if err != nil {
		return config.State{}, err
	}
	held := map[string]string{}
	for _, i := range items {
		if i.ItemValue == nil {
			return config.State{}, d.refused("read", "an item has no value: the dictionary is write-only, and cannot be read back")
		}
		held[api.ToValue(i.ItemKey)] = *i.ItemValue
	}
	return state(held), nil
}

func (d *Dictionary) Write(ctx context.Context, b config.Batch) error {
	in := &api.BatchModifyDictionaryItemsInput{ServiceID: d.service, DictionaryID: d.dictionary}
	for _, w := range writes(b) {
		in.Items = append(in.Items, &api.BatchDictionaryItem{ItemKey: &w.Key, ItemValue: &w.Value, Operation: operation(w)})
	}
	return d.call(ctx, "change", func(ctx context.Context) error { return d.BatchModifyDictionaryItems(ctx, in) })
}

func operation(c config.Change) *api.BatchOperation {
	op := api.UpsertBatchOperation
	if c.Delete {
		op = api.DeleteBatchOperation
	}
	return &op
}
