package configtest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Version of a service. VCL and snippets that hold the word "mistake" do not validate.
type Version struct {
	Active, Locked bool
	Comment        string
	VCL            map[string]string  // name → content
	Main           string             // name of the main VCL file
	Snippets       map[string]Snippet // name → versioned or dynamic snippet
	Backends       map[string]string  // stands for all that a release leaves alone
}

// Snippet of a version.
type Snippet struct {
	Type, Priority, Content string
	Dynamic                 bool
}

func (v *Version) clone() *Version {
	return &Version{Comment: v.Comment, VCL: maps.Clone(v.VCL), Main: v.Main, Snippets: maps.Clone(v.Snippets), Backends: maps.Clone(v.Backends)}
}

// ChangeService makes somebody else clone the active version, change it and activate
// it; the first time, it makes the service.
func (f *Fastly) ChangeService(service string, change func(*Version)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &Version{VCL: map[string]string{}, Snippets: map[string]Snippet{}, Backends: map[string]string{}}
	for _, old := range f.services[service] {
		if old.Active {
			v = old.clone()
		}
	}
	change(v)
	f.services[service] = append(f.services[service], v)
	f.activate(service, len(f.services[service]))
}

// ActiveVersion returns the version that serves, and its number.
func (f *Fastly) ActiveVersion(service string) (Version, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range f.services[service] {
		if v.Active {
			active := *v.clone()
			active.Active, active.Locked = true, v.Locked
			return active, i + 1
		}
	}
	return Version{}, 0
}

func (f *Fastly) activate(service string, number int) {
	for i, v := range f.services[service] {
		if v.Active = i+1 == number; v.Active {
			v.Locked = true
		}
	}
}

func (v *Version) json(number int) map[string]any {
	return map[string]any{"number": number, "active": v.Active, "locked": v.Locked, "comment": v.Comment}
}

// service answers the endpoints of versions.
func (f *Fastly) service(req *http.Request, path string, body []byte) reply {
	parts := strings.Split(path, "/")
	versions, ok := f.services[parts[min(1, len(parts)-1)]]
	if !ok || len(parts) < 3 || parts[0] != "service" || parts[2] != "version" {
		return fastlyRefuse(http.StatusNotFound, "Couldn't find "+path)
	}
	if len(parts) == 3 {
		list := []map[string]any{}
		for i, v := range versions {
			list = append(list, v.json(i+1))
		}
		return reply{status: http.StatusOK, body: list}
	}
	number, err := strconv.Atoi(parts[3])
	if err != nil || number < 1 || number > len(versions) {
		return fastlyRefuse(http.StatusNotFound, "Couldn't find version "+parts[3])
	}
	v := versions[number-1]
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return fastlyRefuse(http.StatusBadRequest, err.Error())
	}
	what := strings.Join(parts[4:], "/")
	switch req.Method + " " + what {
	case "PUT clone":
		f.services[parts[1]] = append(versions, v.clone())
		return reply{status: http.StatusOK, body: v.clone().json(len(versions) + 1)}
	case "GET validate":
		if at := v.mistake(); at != "" {
			return reply{status: http.StatusOK, body: map[string]string{"status": "error", "msg": "Syntax error: Expected string literal in " + at}}
		}
		return fastlyOK
	case "PUT activate":
		if v.mistake() != "" {
			return fastlyRefuse(http.StatusBadRequest, "Version has errors")
		}
		f.activate(parts[1], number)
		return reply{status: http.StatusOK, body: v.json(number)}
	case "GET vcl":
		list := []map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v.VCL)) {
			list = append(list, map[string]any{"name": name, "content": v.VCL[name], "main": name == v.Main, "version": number})
		}
		return reply{status: http.StatusOK, body: list}
	case "GET snippet":
		list := []map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v.Snippets)) {
			list = append(list, v.Snippets[name].json(name))
		}
		return reply{status: http.StatusOK, body: list}
	}
	if v.Locked {
		return fastlyRefuse(http.StatusUnprocessableEntity, "Version is locked")
	}
	if req.Method == http.MethodPut && what == "" {
		v.Comment = form.Get("comment")
		return reply{status: http.StatusOK, body: v.json(number)}
	}
	return v.edit(req.Method, parts[4:], form)
}

func (s Snippet) json(name string) map[string]any {
	m := map[string]any{"name": name, "type": s.Type, "priority": s.Priority, "dynamic": "0", "content": s.Content}
	if s.Dynamic {
		m["dynamic"], m["content"] = "1", nil
	}
	return m
}

func (v *Version) mistake() string {
	for name, content := range v.VCL {
		if strings.Contains(content, "mistake") {
			return name
		}
	}
	for name, s := range v.Snippets {
		if strings.Contains(s.Content, "mistake") {
			return name
		}
	}
	return ""
}

// edit creates, updates and deletes VCL files and snippets.
func (v *Version) edit(method string, parts []string, form url.Values) reply {
	name, main := form.Get("name"), len(parts) == 3 && parts[2] == "main"
	if len(parts) > 1 {
		name = parts[1]
	}
	_, file := v.VCL[name]
	snippet, there := v.Snippets[name]
	if parts[0] == "vcl" {
		there = file
	}
	if there != (method != http.MethodPost) || name == "" {
		return fastlyRefuse(http.StatusNotFound, method+" of "+parts[0]+" "+name)
	}
	switch {
	case parts[0] == "vcl" && method == http.MethodDelete:
		delete(v.VCL, name)
		return fastlyOK
	case parts[0] == "snippet" && method == http.MethodDelete:
		delete(v.Snippets, name)
		return fastlyOK
	case main:
		v.Main = name
	case parts[0] == "vcl":
		v.VCL[name] = form.Get("content")
	case parts[0] == "snippet":
		snippet.Type, snippet.Priority, snippet.Content = form.Get("type"), form.Get("priority"), form.Get("content")
		v.Snippets[name] = snippet
		return reply{status: http.StatusOK, body: snippet.json(name)}
	default:
		return fastlyRefuse(http.StatusNotFound, parts[0])
	}
	return reply{status: http.StatusOK, body: map[string]any{"name": name, "content": v.VCL[name], "main": name == v.Main}}
}
