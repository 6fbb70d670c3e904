package fastly

import (
	"context"
	"io/fs"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// ConfigStoreFile holds what a release wants of a config store: {key: value}.
const ConfigStoreFile = "config-store.json"

// ConfigStore is a config store of Compute services.
type ConfigStore struct {
	client
	exact
	store string
	items int
}

// NewConfigStore checks the id; it does not talk to Fastly. maxItems is for accounts
// with another limit than 500 items; 0 is that.
func NewConfigStore(a Account, store string, maxItems int) (*ConfigStore, error) {
	if err := checkID("store", store); err != nil {
		return nil, err
	}
	c, err := newClient(a, store, "config store "+store)
	if maxItems == 0 {
		maxItems = 500
	}
	return &ConfigStore{client: c, store: store, items: maxItems}, err
}

// Limits: docs.fastly.com, "Working with config stores".
func (s *ConfigStore) Limits() config.Limits {
	return config.Limits{Batch: api.BatchModifyMaximumOperations, Items: s.items, Settle: 30 * time.Second, Keeps: true}
}

func (s *ConfigStore) Load(files fs.FS) (config.Content, error) {
	return loadPairs(files, ConfigStoreFile, 255, 8000)
}

func (s *ConfigStore) Read(ctx context.Context, _ []string) (config.State, error) {
	held := map[string]string{}
	err := s.call(ctx, "read", func(ctx context.Context) error {
		items, err := s.ListConfigStoreItems(ctx, &api.ListConfigStoreItemsInput{StoreID: s.store})
		for _, i := range items {
			held[i.Key] = i.Value
		}
		return err
	})
	return state(held), err
}

func (s *ConfigStore) Write(ctx context.Context, b config.Batch) error {
	in := &api.BatchModifyConfigStoreItemsInput{StoreID: s.store}
	for _, w := range writes(b) {
		in.Items = append(in.Items, &api.BatchConfigStoreItem{ItemKey: w.Key, ItemValue: w.Value, Operation: *operation(w)})
	}
	return s.call(ctx, "change", func(ctx context.Context) error { return s.BatchModifyConfigStoreItems(ctx, in) })
}
