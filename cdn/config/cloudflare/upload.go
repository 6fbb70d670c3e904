package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime/multipart"
	"net/textproto"
	"path"
	"slices"

	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/workers"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// upload makes a version of a content. Cloudflare compiles it, and refuses what does
// not start.
func (w *Worker) upload(ctx context.Context, tag string, c config.Content) (id string, err error) {
	data, kind, err := form(tag, c.Files)
	if err != nil {
		return "", fmt.Errorf("cannot stage %s: %w", w.name, err)
	}
	var p workers.ScriptVersionNewParams
	p.AccountID.Value, p.AccountID.Present = w.account, true
	var got struct {
		ID string `json:"id"`
	}
	err = w.call(ctx, "stage", &got, func(ctx context.Context) error {
		_, err := w.versions.New(ctx, w.script, p, option.WithRequestBody(kind, data))
		return err
	})
	if err == nil && !versionPattern.MatchString(got.ID) {
		err = w.refused("stage", fmt.Sprintf("the answer names the version %q", got.ID))
	}
	return got.ID, err
}

// moduleTypes are what an upload calls the files of a Worker; others are data.
var moduleTypes = map[string]string{
	".js":   "application/javascript+module",
	".mjs":  "application/javascript+module",
	".py":   "text/x-python",
	".wasm": "application/wasm",
	".txt":  "text/plain",
	".html": "text/plain",
	".sql":  "text/plain",
	".map":  "application/source-map",
}

// form encodes an upload: one part with all metadata as JSON, one for each module.
func form(tag string, files map[string][]byte) (data []byte, kind string, err error) {
	metadata := map[string]any{}
	if err := json.Unmarshal(files[workerMetadata], &metadata); err != nil {
		return nil, "", fmt.Errorf("%s: %w", workerMetadata, err)
	}
	metadata["main_module"] = workerMain
	metadata["annotations"] = map[string]string{tagAnnotation: tag}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(name, file, kind string, content []byte) error {
		disposition := fmt.Sprintf("form-data; name=%q", name)
		if file != "" {
			disposition += fmt.Sprintf("; filename=%q", file)
		}
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}})
		if err == nil {
			_, err = p.Write(content)
		}
		return err
	}
	encoded, err := json.Marshal(metadata)
	if err == nil {
		err = part("metadata", "", "application/json", encoded)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == workerMetadata || err != nil {
			continue
		}
		kind := moduleTypes[path.Ext(name)]
		if kind == "" {
			kind = "application/octet-stream"
		}
		err = part(name, name, kind, files[name])
	}
	err = errors.Join(err, w.Close())
	return b.Bytes(), w.FormDataContentType(), err
}
