package configtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Cloudflare answers the endpoints of KV namespaces, Workers and rulesets as
// developers.cloudflare.com documents them, with or without /client/v4 before them, as
// cdntest.Cloudflare does. What was never set does not exist.
type Cloudflare struct {
	Remote

	namespaces map[string]map[string]Pair // path → key → value
	workers    map[string]*Worker         // path → script
	rulesets   map[string]*Ruleset        // zone/phase → entry point; nil: none yet
	zones      map[string]bool
	ids        int
}

// Pair is what a namespace keeps under a key.
type Pair struct {
	Value      string  `json:"value"`
	Metadata   any     `json:"metadata"`
	Expiration float64 `json:"expiration,omitempty"`
}

// NewCloudflare makes an empty Cloudflare with one account.
func NewCloudflare(token string) *Cloudflare {
	return &Cloudflare{
		Remote: Remote{token: token}, namespaces: map[string]map[string]Pair{}, workers: map[string]*Worker{},
		rulesets: map[string]*Ruleset{}, zones: map[string]bool{},
	}
}

// NamespacePath and WorkerPath name things.
func NamespacePath(account, id string) string {
	return "accounts/" + account + "/storage/kv/namespaces/" + id
}
func WorkerPath(account, script string) string {
	return "accounts/" + account + "/workers/scripts/" + script
}

// Pairs returns what a namespace holds.
func (c *Cloudflare) Pairs(path string) map[string]Pair {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.namespaces[path])
}

// SetPairs makes a namespace, or somebody else change it.
func (c *Cloudflare) SetPairs(path string, pairs map[string]Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.namespaces[path] = maps.Clone(pairs)
}

func (c *Cloudflare) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 128<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c.serve(w, req, cloudflareRefuse, func(f Fault) reply {
		path := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/client/v4"), "/")
		switch {
		case strings.Contains(path, "/storage/kv/namespaces/"):
			return c.kv(req, path, body, f)
		case strings.Contains(path, "/workers/scripts/"):
			return c.worker(req, path, body)
		case strings.Contains(path, "/rulesets/"):
			return c.ruleset(req, path, body)
		}
		return cloudflareFail(http.StatusNotFound, 7003, "Could not route to "+req.URL.Path)
	})
}

func cloudflareRefuse(status int, message string) reply {
	code := 10000
	if status != http.StatusUnauthorized {
		code = 10013
	}
	return cloudflareFail(status, code, message)
}

func cloudflareFail(status, code int, message string) reply {
	return reply{status: status, body: map[string]any{
		"success": false, "errors": []any{map[string]any{"code": code, "message": message}}, "messages": []any{}, "result": nil,
	}}
}

func result(v any) reply {
	return reply{status: http.StatusOK, body: map[string]any{"success": true, "errors": []any{}, "messages": []any{}, "result": v}}
}

func (c *Cloudflare) kv(req *http.Request, path string, body []byte, f Fault) reply {
	parts := strings.Split(path, "/")
	base, what := strings.Join(parts[:min(6, len(parts))], "/"), strings.Join(parts[min(6, len(parts)):], "/")
	held, ok := c.namespaces[base]
	if !ok {
		return cloudflareFail(http.StatusNotFound, 10013, "namespace not found")
	}
	switch req.Method + " " + what {
	case "GET keys":
		return list(req, slices.Sorted(maps.Keys(held)))
	case "POST bulk/get":
		var in struct {
			Keys         []string `json:"keys"`
			Type         string   `json:"type"`
			WithMetadata bool     `json:"withMetadata"`
		}
		if err := json.Unmarshal(body, &in); err != nil || len(in.Keys) > 100 || in.Type != "text" || !in.WithMetadata {
			return cloudflareFail(http.StatusBadRequest, 10022, fmt.Sprintf("%d keys: %v", len(in.Keys), err))
		}
		values := map[string]*Pair{}
		for _, key := range in.Keys {
			values[key] = nil
			if p, there := held[key]; there {
				values[key] = &p
			}
		}
		return result(map[string]any{"values": values})
	case "PUT bulk":
		var in []struct {
			Key string `json:"key"`
			Pair
		}
		if err := json.Unmarshal(body, &in); err != nil || len(in) > 10_000 {
			return cloudflareFail(http.StatusBadRequest, 10012, fmt.Sprintf("%d pairs: %v", len(in), err))
		}
		failed := []string{}
		for i, p := range in {
			if p.Key == "" || len(p.Key) > 512 || len(p.Value) > 25<<20 {
				return cloudflareFail(http.StatusBadRequest, 10033, "a key or value is too long")
			}
			if i < f.FailKeys {
				failed = append(failed, p.Key)
				continue
			}
			held[p.Key] = p.Pair
		}
		return result(map[string]any{"successful_key_count": len(in) - len(failed), "unsuccessful_keys": failed})
	case "POST bulk/delete":
		var in []string
		if err := json.Unmarshal(body, &in); err != nil || len(in) > 10_000 {
			return cloudflareFail(http.StatusBadRequest, 10012, fmt.Sprintf("%d keys: %v", len(in), err))
		}
		failed := []string{}
		for i, key := range in {
			if i < f.FailKeys {
				failed = append(failed, key)
				continue
			}
			delete(held, key)
		}
		return result(map[string]any{"successful_key_count": len(in) - len(failed), "unsuccessful_keys": failed})
	}
	return cloudflareFail(http.StatusMethodNotAllowed, 10405, req.Method+" "+what)
}

// list answers with keys, at most 1,000 a call. The cursor is a number.
func list(req *http.Request, keys []string) reply {
	limit, err := strconv.Atoi(req.URL.Query().Get("limit"))
	from, _ := strconv.Atoi(req.URL.Query().Get("cursor"))
	if err != nil || limit < 10 || limit > 1000 || from > len(keys) {
		return cloudflareFail(http.StatusBadRequest, 10028, "limit or cursor")
	}
	to, cursor := min(from+limit, len(keys)), ""
	if to < len(keys) {
		cursor = strconv.Itoa(to)
	}
	names := []map[string]string{}
	for _, key := range keys[from:to] {
		names = append(names, map[string]string{"name": key})
	}
	a := result(names)
	a.body.(map[string]any)["result_info"] = map[string]any{"count": len(names), "cursor": cursor}
	return a
}

// Ruleset is an entry point. Rules whose expression holds the word "mistake" are
// refused.
type Ruleset struct {
	Description string
	Rules       []map[string]any
	Version     int
}

// SetRuleset makes a zone with an entry point, nil for one that never was, or somebody
// else change it.
func (c *Cloudflare) SetRuleset(zone, phase string, r *Ruleset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zones[zone] = true
	if r != nil {
		c.put(zone+"/"+phase, *r)
	}
}

// Ruleset returns an entry point, nil if there is none.
func (c *Cloudflare) Ruleset(zone, phase string) *Ruleset {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rulesets[zone+"/"+phase]
}

// put keeps a ruleset the way Cloudflare does: with ids, versions and defaults.
func (c *Cloudflare) put(name string, r Ruleset) {
	if old := c.rulesets[name]; old != nil {
		r.Version = old.Version
	}
	r.Version++
	var rules []map[string]any
	for _, rule := range r.Rules {
		rule = maps.Clone(rule)
		c.ids++
		rule["id"], rule["version"], rule["last_updated"] = fmt.Sprintf("%032x", c.ids), "1", "2026-01-02T03:04:05Z"
		if rule["ref"] == nil {
			rule["ref"] = rule["id"]
		}
		if rule["enabled"] == nil {
			rule["enabled"] = true
		}
		rules = append(rules, rule)
	}
	r.Rules = rules
	c.rulesets[name] = &r
}

func (c *Cloudflare) ruleset(req *http.Request, path string, body []byte) reply {
	parts, ok := route(path, "zones/*/rulesets/phases/*/entrypoint")
	if !ok || !c.zones[parts[0]] {
		return cloudflareFail(http.StatusNotFound, 7003, "Could not route to "+path)
	}
	name := parts[0] + "/" + parts[1]
	if req.Method == http.MethodPut {
		var in struct {
			Description string           `json:"description"`
			Rules       []map[string]any `json:"rules"`
		}
		if err := json.Unmarshal(body, &in); err != nil || in.Rules == nil {
			return cloudflareFail(http.StatusBadRequest, 20021, fmt.Sprintf("no rules: %v", err))
		}
		for i, rule := range in.Rules {
			text, _ := rule["expression"].(string)
			if text == "" || strings.Contains(text, "mistake") || rule["id"] != nil {
				return cloudflareFail(http.StatusBadRequest, 20127, fmt.Sprintf("rules[%d]: '%s' is not a valid expression", i, text))
			}
		}
		if req.URL.Query().Get("dry_run") == "true" {
			return result(nil)
		}
		c.put(name, Ruleset{Description: in.Description, Rules: in.Rules})
	}
	r := c.rulesets[name]
	if r == nil {
		return cloudflareFail(http.StatusNotFound, 10003, "could not find entrypoint ruleset in the "+parts[1]+" phase")
	}
	return result(map[string]any{
		"id": fmt.Sprintf("%032x", 7), "kind": "zone", "name": "default", "phase": parts[1], "last_updated": "2026-01-02T03:04:05Z",
		"version": strconv.Itoa(r.Version), "description": r.Description, "rules": r.Rules,
	})
}
