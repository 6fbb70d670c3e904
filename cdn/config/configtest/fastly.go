package configtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Limits that Fastly documents.
const (
	fastlyBatch = 1000
	fastlyKey   = 256
	fastlyValue = 8000
)

// Fastly answers the endpoints of dictionaries, access lists, config stores and service
// versions as developer.fastly.com documents them. What was never set does not exist.
type Fastly struct {
	Remote
	items    map[string]map[string]string // path of a dictionary or config store → items
	most     map[string]int               // path → how many items fit
	acls     map[string][]Entry           // path → entries
	services map[string][]*Version        // service → versions, the first one is number 1
	ids      int
}

// Entry of an access list.
type Entry struct {
	ID      string
	IP      string
	Subnet  *int
	Negated bool
	Comment string
}

// NewFastly makes an empty Fastly with one account.
func NewFastly(token string) *Fastly {
	return &Fastly{
		Remote: Remote{token: token}, items: map[string]map[string]string{}, most: map[string]int{},
		acls: map[string][]Entry{}, services: map[string][]*Version{},
	}
}

// DictionaryPath, ConfigStorePath and ACLPath name things to Items, SetItems, ACL and
// SetACL.
func DictionaryPath(service, id string) string { return "service/" + service + "/dictionary/" + id }
func ConfigStorePath(id string) string         { return "resources/stores/config/" + id }
func ACLPath(service, id string) string        { return "service/" + service + "/acl/" + id }

// Items returns what a dictionary or config store holds.
func (f *Fastly) Items(path string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.items[path])
}

// SetItems makes a dictionary or config store, or somebody else change it. most is how
// many items fit.
func (f *Fastly) SetItems(path string, most int, items map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[path], f.most[path] = maps.Clone(items), most
}

// ACL returns the entries of an access list.
func (f *Fastly) ACL(path string) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.acls[path])
}

// SetACL makes an access list, or somebody else change it.
func (f *Fastly) SetACL(path string, entries ...Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range entries {
		entries[i].ID = f.id()
	}
	f.acls[path] = entries
}

func (f *Fastly) id() string {
	f.ids++
	return fmt.Sprintf("id%020d", f.ids)
}

func (f *Fastly) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 64<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.serve(w, req, fastlyRefuse, func(Fault) reply { return f.answer(req, body) })
}

func fastlyRefuse(status int, message string) reply {
	return reply{status: status, body: map[string]string{"msg": http.StatusText(status), "detail": message}}
}

var fastlyOK = reply{status: http.StatusOK, body: map[string]string{"status": "ok"}}

func (f *Fastly) answer(req *http.Request, body []byte) reply {
	path := req.URL.Path[1:]
	if _, ok := route(path, "service/*/acl/*/entries"); ok {
		return f.entries(req, path[:len(path)-len("/entries")], body)
	}
	if parts, ok := route(path, "service/*/dictionary/*/item/*"); ok {
		return f.item(req, path[:len(path)-len("/item/")-len(parts[2])], parts[2], body)
	}
	_, dictionary := route(path, "service/*/dictionary/*/items")
	_, store := route(path, "resources/stores/config/*/items")
	if dictionary || store {
		return f.pairs(req, path[:len(path)-len("/items")], body)
	}
	return f.service(req, path, body)
}

func (f *Fastly) pairs(req *http.Request, path string, body []byte) reply {
	held, ok := f.items[path]
	if !ok {
		return fastlyRefuse(http.StatusNotFound, "Couldn't find it")
	}
	if req.Method == http.MethodGet {
		list := []map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(held)) {
			list = append(list, map[string]string{"item_key": key, "item_value": held[key]})
		}
		if path[0] == 's' { // a config store answers with all
			list = page(req, list)
		}
		return reply{status: http.StatusOK, body: list}
	}
	var in struct {
		Items []struct {
			Key   string  `json:"item_key"`
			Value *string `json:"item_value"`
			Op    string  `json:"op"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &in); err != nil || len(in.Items) > fastlyBatch {
		return fastlyRefuse(http.StatusBadRequest, fmt.Sprintf("%d operations: %v", len(in.Items), err))
	}
	next := maps.Clone(held) // all or nothing
	for _, i := range in.Items {
		_, there := next[i.Key]
		switch {
		case i.Op == "delete" && there:
			delete(next, i.Key)
			continue
		case i.Op == "upsert", i.Op == "create" && !there, i.Op == "update" && there:
		default:
			return fastlyRefuse(http.StatusBadRequest, fmt.Sprintf("%s of %s", i.Op, i.Key))
		}
		if i.Value == nil || utf8.RuneCountInString(i.Key) > fastlyKey || utf8.RuneCountInString(*i.Value) > fastlyValue {
			return fastlyRefuse(http.StatusBadRequest, "too long: "+i.Key[:min(len(i.Key), 40)])
		}
		next[i.Key] = *i.Value
	}
	if len(next) > f.most[path] {
		return fastlyRefuse(http.StatusBadRequest, "Exceeding max_dictionary_items")
	}
	f.items[path] = next
	return fastlyOK
}

// item is how the controller's fences read and write the same dictionaries.
func (f *Fastly) item(req *http.Request, path, key string, body []byte) reply {
	held, ok := f.items[path]
	if !ok {
		return fastlyRefuse(http.StatusNotFound, "Couldn't find it")
	}
	value, there := held[key]
	if req.Method == http.MethodPut {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(held) == f.most[path] && !there {
			return fastlyRefuse(http.StatusBadRequest, fmt.Sprintf("Exceeding max_dictionary_items, or no form: %v", err))
		}
		value, there = form.Get("item_value"), true
		held[key] = value
	}
	if !there {
		return fastlyRefuse(http.StatusNotFound, "Cannot find item "+key)
	}
	return reply{status: http.StatusOK, body: map[string]string{"item_key": key, "item_value": value}}
}

func (f *Fastly) entries(req *http.Request, path string, body []byte) reply {
	held, ok := f.acls[path]
	if !ok {
		return fastlyRefuse(http.StatusNotFound, "Couldn't find ACL")
	}
	if req.Method == http.MethodGet {
		list := []map[string]any{}
		for _, e := range page(req, held) {
			negated := "0"
			if e.Negated {
				negated = "1"
			}
			list = append(list, map[string]any{"id": e.ID, "ip": e.IP, "subnet": e.Subnet, "negated": negated, "comment": e.Comment})
		}
		return reply{status: http.StatusOK, body: list}
	}
	var in struct {
		Entries []struct {
			Op, ID, IP, Comment, Negated string
			Subnet                       *int
		} `json:"entries"`
	}
	if err := json.Unmarshal(body, &in); err != nil || len(in.Entries) > fastlyBatch {
		return fastlyRefuse(http.StatusBadRequest, fmt.Sprintf("%d operations: %v", len(in.Entries), err))
	}
	next := slices.Clone(held)
	for _, e := range in.Entries {
		at := slices.IndexFunc(next, func(n Entry) bool { return n.ID == e.ID })
		entry := Entry{ID: e.ID, IP: e.IP, Subnet: e.Subnet, Negated: e.Negated == "1", Comment: e.Comment}
		switch {
		case e.Op == "create" && e.ID == "":
			entry.ID = f.id()
			next = append(next, entry)
		case e.Op == "update" && at >= 0:
			next[at] = entry
		case e.Op == "delete" && at >= 0:
			next = slices.Delete(next, at, at+1)
		default:
			return fastlyRefuse(http.StatusBadRequest, fmt.Sprintf("%s of %q", e.Op, e.ID))
		}
	}
	if len(next) > 1000 {
		return fastlyRefuse(http.StatusBadRequest, "too many entries: "+strconv.Itoa(len(next)))
	}
	f.acls[path] = next
	return fastlyOK
}
