package configtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
)

// Worker is a script. A main module that holds the word "mistake" does not compile.
type Worker struct {
	Versions    []WorkerVersion
	Deployments []Deployment // newest first
}

// WorkerVersion is what was uploaded.
type WorkerVersion struct {
	ID          string
	Annotations map[string]string
	Metadata    map[string]any
	Modules     map[string]string // name → content
}

// Deployment is how requests are shared.
type Deployment struct {
	Shares      map[string]float64 // version → percent
	Annotations map[string]string
}

// SetWorker makes a script, or somebody else change it.
func (c *Cloudflare) SetWorker(path string, w Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers[path] = &w
}

// Worker returns a script.
func (c *Cloudflare) Worker(path string) Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := *c.workers[path]
	return Worker{Versions: slices.Clone(w.Versions), Deployments: slices.Clone(w.Deployments)}
}

// Version returns a version by its id.
func (w Worker) Version(id string) WorkerVersion {
	for _, v := range w.Versions {
		if v.ID == id {
			return v
		}
	}
	return WorkerVersion{}
}

func (v WorkerVersion) json() map[string]any {
	return map[string]any{"id": v.ID, "annotations": v.Annotations, "metadata": map[string]any{}, "resources": map[string]any{}}
}

func (c *Cloudflare) worker(req *http.Request, path string, body []byte) reply {
	parts := strings.Split(path, "/")
	if len(parts) < 6 {
		return cloudflareFail(http.StatusNotFound, 7003, "Could not route to "+path)
	}
	w := c.workers[strings.Join(parts[:5], "/")]
	if w == nil {
		return cloudflareFail(http.StatusNotFound, 10007, "This Worker does not exist on your account.")
	}
	switch req.Method + " " + parts[5] {
	case "GET deployments":
		list := []any{}
		for _, d := range w.Deployments {
			list = append(list, d.json())
		}
		return result(map[string]any{"deployments": list})
	case "POST deployments":
		return w.deploy(body)
	case "GET versions":
		if len(parts) == 7 {
			if v := w.Version(parts[6]); v.ID != "" {
				return result(v.json())
			}
			return cloudflareFail(http.StatusNotFound, 10215, "no such version")
		}
		items := []any{}
		for _, v := range slices.Backward(w.Versions) {
			items = append(items, v.json())
		}
		return result(map[string]any{"items": items})
	case "POST versions":
		c.ids++
		return w.upload(fmt.Sprintf("%08x-0000-4000-8000-%012x", c.ids, c.ids), req.Header.Get("Content-Type"), body)
	}
	return cloudflareFail(http.StatusMethodNotAllowed, 10405, path)
}

func (d Deployment) json() map[string]any {
	var shares []any
	for id, percent := range d.Shares {
		shares = append(shares, map[string]any{"version_id": id, "percentage": percent})
	}
	return map[string]any{"id": "00000000-0000-4000-8000-000000000000", "created_on": "2026-01-02T03:04:05Z", "source": "api",
		"strategy": "percentage", "versions": shares, "annotations": d.Annotations}
}

func (w *Worker) deploy(body []byte) reply {
	var in struct {
		Strategy string `json:"strategy"`
		Versions []struct {
			Version string  `json:"version_id"`
			Percent float64 `json:"percentage"`
		} `json:"versions"`
		Annotations map[string]string `json:"annotations"`
	}
	err := json.Unmarshal(body, &in)
	d := Deployment{Shares: map[string]float64{}, Annotations: in.Annotations}
	sum := 0.0
	for _, v := range in.Versions {
		if w.Version(v.Version).ID == "" {
			return cloudflareFail(http.StatusBadRequest, 10016, "no such version: "+v.Version)
		}
		d.Shares[v.Version] = v.Percent
		sum += v.Percent
	}
	if err != nil || in.Strategy != "percentage" || len(d.Shares) < 1 || len(d.Shares) > 2 || sum != 100 {
		return cloudflareFail(http.StatusBadRequest, 10016, fmt.Sprintf("one or two versions that sum up to 100, not %v: %v", d.Shares, err))
	}
	w.Deployments = slices.Insert(w.Deployments, 0, d)
	return result(d.json())
}

// upload takes one part of JSON metadata, and modules.
func (w *Worker) upload(id, kind string, body []byte) reply {
	refuse := func(format string, args ...any) reply {
		return cloudflareFail(http.StatusBadRequest, 10021, fmt.Sprintf(format, args...))
	}
	_, params, err := mime.ParseMediaType(kind)
	if err != nil {
		return refuse("%v", err)
	}
	v := WorkerVersion{ID: id, Modules: map[string]string{}}
	for r := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return refuse("%v", err)
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return refuse("%v", err)
		}
		if part.FormName() != "metadata" {
			v.Modules[part.FormName()] = string(data)
			continue
		}
		var metadata struct {
			Annotations map[string]string `json:"annotations"`
			Main        string            `json:"main_module"`
		}
		if json.Unmarshal(data, &metadata) != nil || json.Unmarshal(data, &v.Metadata) != nil || metadata.Main == "" {
			return refuse("metadata is not one JSON object with a main_module: %s", data)
		}
		v.Annotations = metadata.Annotations
	}
	main, _ := v.Metadata["main_module"].(string)
	if code, ok := v.Modules[main]; !ok || strings.Contains(code, "mistake") {
		return refuse("Uncaught SyntaxError: Unexpected identifier 'mistake' at %s:1", main)
	}
	w.Versions = append(w.Versions, v)
	return result(v.json())
}
