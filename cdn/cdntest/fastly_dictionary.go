package cdntest

import (
	"net/http"
	"slices"
	"time"
)

// itemPath names a dictionary item.
type itemPath struct{ service, dictionary, key string }

func (p itemPath) String() string { return p.service + " " + p.dictionary + " " + p.key }

// itemWrite is one value of a dictionary item.
type itemWrite struct {
	value string
	at    time.Time
}

// Item returns the value of a dictionary item that the edge has by now, empty
// where there is none.
func (f *Fastly) Item(service, dictionary, key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	value := ""
	for _, w := range f.items[itemPath{service, dictionary, key}.String()] {
		if time.Since(w.at) >= f.config.Spread {
			value = w.value
		}
	}
	return value
}

// SetItem writes a dictionary item as if it had been there for long.
func (f *Fastly) SetItem(service, dictionary, key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[itemPath{service, dictionary, key}.String()] = []itemWrite{{value, time.Now().Add(-time.Hour)}}
}

// dictionary reads an item, or inserts or updates it.
func (f *Fastly) dictionary(w http.ResponseWriter, r *http.Request, path itemPath, fault Fault) {
	if len(f.config.Dictionaries) > 0 && !slices.Contains(f.config.Dictionaries, path.dictionary) {
		fastlyError(w, http.StatusNotFound, "Record not found", "Cannot find dictionary "+path.dictionary)
		return
	}
	f.mu.Lock()
	writes := f.items[path.String()]
	f.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		if len(writes) == 0 {
			fastlyError(w, http.StatusNotFound, "Record not found", "Cannot find item "+path.key)
			return
		}
	case http.MethodPut:
		if !f.counted(w) {
			return
		}
		value := r.FormValue("item_value")
		if len(path.key) > 256 || len(value) > 8000 {
			fastlyError(w, http.StatusBadRequest, "Bad request", "key of at most 256, value of at most 8000 characters")
			return
		}
		writes = append(slices.Clone(writes), itemWrite{value, time.Now()})
		f.mu.Lock()
		f.items[path.String()] = writes
		f.mu.Unlock()
		if fault.LoseReply {
			panic(http.ErrAbortHandler)
		}
	default:
		fastlyError(w, http.StatusMethodNotAllowed, "Method not allowed", r.Method)
		return
	}
	last := writes[len(writes)-1]
	answer(w, http.StatusOK, map[string]string{
		"service_id": path.service, "dictionary_id": path.dictionary, "item_key": path.key,
		"item_value": last.value, "updated_at": last.at.UTC().Format(time.RFC3339),
	})
}
