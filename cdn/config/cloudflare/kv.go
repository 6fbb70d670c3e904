package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudflare/cloudflare-go/v7/kv"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/config"
)

// kvDir holds what a release wants of a namespace: the file kv/a/b is the value of the
// key a/b.
const kvDir = "kv"

// Limits of Workers KV, developers.cloudflare.com: "Limits" and the API pages.
const (
	kvKey    = 512
	kvValue  = 25 << 20
	kvBatch  = 10_000
	kvBytes  = 60 << 20 // 100 MB as JSON, in which a character may take more
	kvRead   = 100
	kvList   = 1000
	kvSettle = time.Minute
)

// Namespace is a Workers KV namespace. Values are text. A key that expires by itself
// is nobody's configuration: it is left alone unless a release names it, and not put
// back.
type Namespace struct {
	client
	account, namespace string
	service            *kv.NamespaceService
	items              int
}

// NewNamespace checks the ids; it does not talk to Cloudflare. maxItems bounds what is
// read back, 100 keys a call: 0 is 5,000, because 1,200 calls are allowed in 5 minutes.
func NewNamespace(a Account, account, namespace string, maxItems int) (*Namespace, error) {
	if err := checkHex("account", account); err != nil {
		return nil, err
	}
	if err := checkHex("namespace", namespace); err != nil {
		return nil, err
	}
	c, err := newClient(a, account, "namespace "+namespace)
	if maxItems == 0 {
		maxItems = 5000
	}
	return &Namespace{client: c, account: account, namespace: namespace, service: kv.NewNamespaceService(c.opts...), items: maxItems}, err
}

// Limits: a value is everywhere after a minute, and was cached for as long.
func (n *Namespace) Limits() config.Limits {
	return config.Limits{Batch: kvBatch, Bytes: kvBytes, Items: n.items, Settle: kvSettle, Keeps: true}
}

// pair is the value of an item: what the namespace keeps under a key.
type pair struct {
	Value    string `json:"value"`
	Metadata any    `json:"metadata,omitempty"`
}

func (p pair) item() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // metadata was JSON before
	}
	return string(b)
}

func (n *Namespace) Load(files fs.FS) (config.Content, error) {
	c := config.Content{Items: map[string]string{}}
	err := fs.WalkDir(files, kvDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key := strings.TrimPrefix(path, kvDir+"/")
		switch {
		case len(key) > kvKey:
			return fmt.Errorf("%s: the key has %d bytes, at most %d are taken", path, len(key), kvKey)
		case key == config.Mark:
			return fmt.Errorf("%s: the key is kept for the release", path)
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		if len(data) > kvValue {
			return fmt.Errorf("%s: has %d bytes, at most %d are taken", path, len(data), kvValue)
		}
		if !utf8.Valid(data) || bytes.ContainsRune(data, utf8.RuneError) { // which stands for what is none
			return fmt.Errorf("%s: is not UTF-8 text, and could not be read back", path)
		}
		c.Items[key] = pair{Value: string(data)}.item()
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("%s: %w", kvDir, err)
	}
	return c, nil
}

func (n *Namespace) Same(_, have, want string) bool { return have == want }

func (n *Namespace) Stage(_ context.Context, want config.State, _ config.Content) (config.State, error) {
	return want, nil
}

// Read gets the values of the keys, or of all.
func (n *Namespace) Read(ctx context.Context, keys []string) (config.State, error) {
	s := config.State{Items: map[string]string{}, Lossy: map[string]bool{}}
	if keys == nil {
		var err error
		if keys, err = n.list(ctx); err != nil {
			return s, err
		}
	} else if !slices.Contains(keys, config.Mark) {
		keys = append(slices.Clone(keys), config.Mark)
	}
	for part := range slices.Chunk(keys, kvRead) {
		if err := n.get(ctx, part, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// list returns the names of all keys. It fails for more than Items: a namespace that
// large is not held as a whole.
func (n *Namespace) list(ctx context.Context) (names []string, err error) {
	names = []string{}
	for cursor := ""; ; {
		var p kv.NamespaceKeyListParams
		p.AccountID.Value, p.AccountID.Present = n.account, true
		p.Limit.Value, p.Limit.Present = kvList, true
		p.Cursor.Value, p.Cursor.Present = cursor, cursor != ""
		var keys []struct {
			Name string `json:"name"`
		}
		cursor, err = n.page(ctx, "read", &keys, func(ctx context.Context) error {
			_, err := n.service.Keys.List(ctx, n.namespace, p)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			names = append(names, k.Name)
		}
		if len(names) > n.items {
			return nil, n.refused("read", fmt.Sprintf("it holds more than %d keys: raise max_items, or keep the keys of others", n.items))
		}
		if cursor == "" {
			return names, nil
		}
	}
}

// get reads up to kvRead values into s. Keys that do not exist come back as null.
func (n *Namespace) get(ctx context.Context, keys []string, s *config.State) error {
	var p kv.NamespaceBulkGetParams
	p.AccountID.Value, p.AccountID.Present = n.account, true
	p.Keys.Value, p.Keys.Present = keys, true
	p.Type.Value, p.Type.Present = kv.NamespaceBulkGetParamsTypeText, true
	p.WithMetadata.Value, p.WithMetadata.Present = true, true
	var got struct {
		Values map[string]*struct {
			pair
			Expiration float64 `json:"expiration"` // Unix seconds
		} `json:"values"`
	}
	err := n.call(ctx, "read", &got, func(ctx context.Context) error {
		_, err := n.service.BulkGet(ctx, n.namespace, p)
		return err
	})
	if err != nil {
		return err
	}
	for key, v := range got.Values {
		switch {
		case v == nil || v.Expiration > 0:
		case key == config.Mark:
			s.Release = v.Value
		default:
			s.Items[key] = v.item()
			s.Lossy[key] = strings.ContainsRune(v.Value, utf8.RuneError)
		}
	}
	return nil
}

// Write sets, then deletes, then sets the mark.
func (n *Namespace) Write(ctx context.Context, b config.Batch) error {
	var set []kv.NamespaceBulkUpdateParamsBody
	var deleted []string
	for _, c := range b.Changes {
		if c.Delete {
			deleted = append(deleted, c.Key)
			continue
		}
		var p pair
		if err := json.Unmarshal([]byte(c.Value), &p); err != nil {
			return fmt.Errorf("cannot change %s: key %.100q: %w", n.name, c.Key, err)
		}
		set = append(set, body(c.Key, p))
	}
	if err := n.set(ctx, set); err != nil {
		return err
	}
	marks := b.Last && b.Have.Release != b.Want.Release
	if marks && b.Want.Release == "" {
		deleted = append(deleted, config.Mark)
	}
	if err := n.remove(ctx, deleted); err != nil {
		return err
	}
	if marks && b.Want.Release != "" {
		return n.set(ctx, []kv.NamespaceBulkUpdateParamsBody{body(config.Mark, pair{Value: b.Want.Release})})
	}
	return nil
}

func body(key string, p pair) (b kv.NamespaceBulkUpdateParamsBody) {
	b.Key.Value, b.Key.Present = key, true
	b.Value.Value, b.Value.Present = p.Value, true
	if p.Metadata != nil {
		b.Metadata.Value, b.Metadata.Present = p.Metadata, true
	}
	return b
}

func (n *Namespace) set(ctx context.Context, pairs []kv.NamespaceBulkUpdateParamsBody) error {
	var p kv.NamespaceBulkUpdateParams
	p.AccountID.Value, p.AccountID.Present = n.account, true
	p.Body = pairs
	return n.bulk(ctx, len(pairs), func(ctx context.Context) error {
		_, err := n.service.BulkUpdate(ctx, n.namespace, p)
		return err
	})
}

func (n *Namespace) remove(ctx context.Context, keys []string) error {
	var p kv.NamespaceBulkDeleteParams
	p.AccountID.Value, p.AccountID.Present = n.account, true
	p.Body = keys
	return n.bulk(ctx, len(keys), func(ctx context.Context) error {
		_, err := n.service.BulkDelete(ctx, n.namespace, p)
		return err
	})
}

// bulk makes a call about so many keys, and an error of those that failed while the call
// did not.
func (n *Namespace) bulk(ctx context.Context, keys int, do func(ctx context.Context) error) error {
	if keys == 0 {
		return nil
	}
	var done struct {
		Unsuccessful []string `json:"unsuccessful_keys"`
	}
	if err := n.call(ctx, "change", &done, do); err != nil || len(done.Unsuccessful) == 0 {
		return err
	}
	return &config.Error{Op: "change", Target: n.name, Err: &cdn.Error{
		Provider: "cloudflare", Class: cdn.Retryable,
		Message: fmt.Sprintf("%d of %d keys failed, first %.100q", len(done.Unsuccessful), keys, done.Unsuccessful[0]),
	}}
}
