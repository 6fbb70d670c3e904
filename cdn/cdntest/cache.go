package cdntest

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/ebbgate/ebbgate/cdn"
)

// Cache remembers which URLs are cached and their tags. Its zero value is not
// ready, use NewCache.
type Cache struct {
	mu      sync.Mutex
	objects map[string][]string // URL → tags; guarded by mu
}

func NewCache() *Cache { return &Cache{objects: map[string][]string{}} }

// Put caches a URL under tags, replacing what was there.
func (c *Cache) Put(url string, tags ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects[url] = slices.Clone(tags)
}

// Has reports whether a URL is cached.
func (c *Cache) Has(url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.objects[url]
	return ok
}

// Apply removes what a purge selects; it fits OnPurge. A soft purge removes
// too: what counts here is that the object is not served as fresh.
func (c *Cache) Apply(p Purge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.objects, func(url string, tags []string) bool {
		return slices.ContainsFunc(p.Selectors, func(s cdn.Selector) bool { return matches(s, url, tags) })
	})
}

func matches(s cdn.Selector, address string, tags []string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	switch s.Kind {
	case cdn.Key:
		return slices.Contains(tags, s.Value)
	case cdn.URL:
		return s.Value == address
	case cdn.Prefix:
		return strings.HasPrefix(u.Host+u.Path, s.Value)
	case cdn.Host:
		return u.Host == s.Value
	case cdn.All:
		return true
	}
	return false
}
