package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// operation describes a route for the document.
type operation struct {
	summary string
	in, out any      // zero values of the bodies; nil: none
	query   []string // names of optional parameters
	status  int      // of success; 0: 200
}

type (
	octets struct{} // application/octet-stream
	stream struct{} // text/event-stream
	health struct {
		Status string `json:"status"`
	}
)

var operations = map[string]operation{
	"GET /healthz":         {summary: "Whether the process answers", out: health{}},
	"GET /readyz":          {summary: "Whether this controller leads; 503 if not", out: health{}},
	"GET /v1/openapi.json": {summary: "This document", out: map[string]any{}},

	"POST /v1/blobs/missing":     {summary: "Which blobs are not stored", in: MissingRequest{}, out: MissingResponse{}},
	"PUT /v1/blobs/{digest}":     {summary: "Store a blob of at most 1024000 bytes", in: octets{}, status: 204},
	"GET /v1/bundles":            {summary: "Published bundles", query: []string{"app"}, out: []controller.BundleInfo{}},
	"POST /v1/bundles":           {summary: "Take in a bundle whose blobs are stored", in: PublishRequest{}, out: controller.BundleInfo{}, status: 201},
	"GET /v1/manifests/{digest}": {summary: "The manifest of a published bundle, byte for byte as it was signed", out: wire.Manifest{}},

	"POST /v1/plan":                 {summary: "What a rollout would do; changes nothing", in: controller.StartRequest{}, out: controller.PlanView{}},
	"POST /v1/rollouts":             {summary: "Start a rollout", in: controller.StartRequest{}, out: controller.AppView{}, status: 201},
	"GET /v1/apps":                  {summary: "The state of every app", out: []controller.AppView{}},
	"GET /v1/apps/{app}":            {summary: "The state of one app", out: controller.AppView{}},
	"GET /v1/apps/{app}/history":    {summary: "The rollouts of an app", out: []rollout.Rollout{}},
	"POST /v1/apps/{app}/{command}": {summary: "Steer a rollout: pause, resume, abort or undo", out: controller.AppView{}},

	"GET /v1/regions": {summary: "The regions", out: []controller.RegionView{}},
	"GET /v1/agents":  {summary: "The enrolled agents", query: []string{"region"}, out: []controller.AgentView{}},
	"POST /v1/agents": {summary: "Enroll an agent", in: controller.EnrollRequest{}, out: controller.Enrolment{}, status: 201},
	"PUT /v1/regions/{region}/agents/{agent}/drained": {summary: "Take an agent out of service, or back into it", in: DrainRequest{}, status: 204},
	"DELETE /v1/regions/{region}/agents/{agent}":      {summary: "Strike an agent off; its NATS credentials stay valid until they are revoked", status: 204},

	"GET /v1/purges":  {summary: "The purge outbox", query: []string{"region", "app"}, out: []controller.PurgeView{}},
	"POST /v1/purges": {summary: "Purge by hand", in: controller.PurgeRequest{}, out: []controller.PurgeView{}, status: 202},

	"GET /v1/events": {summary: "Server-sent events; each data line is an Event. Resume with Last-Event-ID or after", query: []string{"after"}, out: stream{}},
	"GET /v1/audit":  {summary: "Up to 1000 entries of the audit log", query: []string{"after"}, out: []controller.AuditEntry{}},
}

type object = map[string]any

// generator turns Go types into JSON Schema 2020-12.
type generator struct{ schemas object }

var (
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	nonWord  = regexp.MustCompile(`\W+`)
)

func (g *generator) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "description": "nanoseconds"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t.Implements(textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		name := strings.Trim(nonWord.ReplaceAllString(path.Base(t.PkgPath())+"."+t.Name(), "."), ".")
		if _, known := g.schemas[name]; !known {
			s := object{"type": "object"}
			g.schemas[name] = s // before the fields: a type may hold itself
			properties, required := object{}, []string{}
			g.fields(t, properties, &required)
			s["properties"] = properties
			if len(required) > 0 {
				slices.Sort(required)
				s["required"] = required
			}
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	panic("no schema for " + t.String())
}

func (g *generator) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported():
		case f.Anonymous && tag == "":
			g.fields(f.Type, properties, required)
		default:
			if tag == "" {
				tag = f.Name
			}
			properties[tag] = g.of(f.Type)
			if !strings.Contains(options, "omit") {
				*required = append(*required, tag)
			}
		}
	}
}

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// document generates the whole document from the routes and the operations.
func document() object {
	g := &generator{schemas: object{}}
	g.schemas["api.Failure"] = object{"type": "object", "required": []string{"error"}, "properties": object{"error": g.of(reflect.TypeFor[Error]())}}
	g.of(reflect.TypeFor[controller.Event]())
	failure := object{"description": "Refused", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/api.Failure"}}}}
	paths := object{}
	for _, rt := range routes {
		op, known := operations[rt.method+" "+rt.path]
		if !known {
			continue
		}
		status, success := max(op.status, 200), object{"description": "Done"}
		switch op.out.(type) {
		case nil:
		case stream:
			success["content"] = object{"text/event-stream": object{"schema": object{"type": "string"}}}
		default:
			success["content"] = object{"application/json": object{"schema": g.of(reflect.TypeOf(op.out))}}
		}
		o := object{
			"operationId": operationID(rt), "summary": op.summary,
			"responses": object{itoa(status): success, "default": failure},
		}
		if rt.role == RoleNone {
			o["security"] = []any{}
		} else {
			o["x-ebbgate-role"] = rt.role.String()
		}
		var params []any
		for _, m := range parameter.FindAllStringSubmatch(rt.path, -1) {
			schema := object{"type": "string"}
			if m[1] == "command" {
				schema["enum"] = []string{"pause", "resume", "abort", "undo"}
			}
			params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": schema})
		}
		for _, q := range op.query {
			params = append(params, object{"name": q, "in": "query", "schema": object{"type": "string"}})
		}
		if params != nil {
			o["parameters"] = params
		}
		switch op.in.(type) {
		case nil:
		case octets:
			o["requestBody"] = object{"required": true, "content": object{"application/octet-stream": object{}}}
		default:
			o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": g.of(reflect.TypeOf(op.in))}}}
		}
		if paths[rt.path] == nil {
			paths[rt.path] = object{}
		}
		paths[rt.path].(object)[strings.ToLower(rt.method)] = o
	}
	return object{
		"openapi":    "3.1.0",
		"info":       object{"title": "Ebbgate controller", "version": "1", "description": "Roles: viewer < operator < approver < admin; x-ebbgate-role is the lowest that may."},
		"security":   []any{object{"token": []any{}}},
		"paths":      paths,
		"components": object{"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}, "schemas": g.schemas},
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func operationID(rt route) string {
	return strings.ToLower(rt.method) + "_" + strings.Trim(nonWord.ReplaceAllString(strings.TrimPrefix(rt.path, "/v1"), "_"), "_")
}

// The document names every route of the server and no other, and is what the Go types
// say. Run with -update to write it anew.
func TestOpenAPI(t *testing.T) {
	known := make(map[string]bool)
	for _, rt := range routes {
		known[rt.method+" "+rt.path] = true
		if _, described := operations[rt.method+" "+rt.path]; !described {
			t.Errorf("%s %s is not described", rt.method, rt.path)
		}
	}
	for name := range operations {
		if !known[name] {
			t.Errorf("%s is described, but not a route", name)
		}
	}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(document()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(openAPIDocument, want.Bytes()) {
		t.Errorf("openapi.json is not what the types say; run go test -run TestOpenAPI -update ./controller/api\n%s",
			cmp.Diff(string(openAPIDocument), want.String()))
	}
	// What is embedded is what counts: read it back.
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		t.Fatal(err)
	}
	served := make(map[string]bool)
	for p, methods := range doc.Paths {
		for m := range methods {
			served[strings.ToUpper(m)+" "+p] = true
		}
	}
	if diff := cmp.Diff(known, served); diff != "" {
		t.Errorf("routes and document differ (-routes +document):\n%s", diff)
	}
}
