package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/internal/schematest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// operation describes a route for the document.
type operation struct {
	summary string
	in, out any      // zero values of the bodies; nil: none
	bare    bool     // in may be left out
	query   []string // names of optional parameters
	status  int      // of success; 0: 200
}

type (
	octets struct{} // application/octet-stream
	stream struct{} // text/event-stream
	health struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
)

var operations = map[string]operation{
	"GET /healthz":         {summary: "Whether the process answers", out: health{}},
	"GET /readyz":          {summary: "Whether this controller leads and takes commands; 503 if not", out: health{}},
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
	"POST /v1/apps/{app}/approve":   {summary: "Approve what a rollout waits for approval of; whoever started it cannot, but for an emergency", in: rollout.Of{}, bare: true, out: controller.AppView{}},
	"POST /v1/apps/{app}/promote":   {summary: "Let the regions that wait at their gates go on without them, this once", in: rollout.Of{}, bare: true, out: controller.AppView{}},
	"POST /v1/apps/{app}/{command}": {summary: "Steer a rollout; abort-all takes committed regions back, too", in: rollout.Of{}, bare: true, out: controller.AppView{}},

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

type object = schematest.Object

var (
	parameter = regexp.MustCompile(`\{(\w+)\}`)
	nonWord   = regexp.MustCompile(`\W+`)
)

// document generates the whole document from the routes and the operations.
func document() object {
	g := &schematest.Generator{Ref: "#/components/schemas/", Schemas: object{}}
	g.Schemas["api.Failure"] = object{"type": "object", "required": []string{"error"}, "properties": object{"error": g.Of(reflect.TypeFor[Error]())}}
	g.Of(reflect.TypeFor[controller.Event]())
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
			success["content"] = object{"application/json": object{"schema": g.Of(reflect.TypeOf(op.out))}}
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
				schema["enum"] = commands
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
			o["requestBody"] = object{"required": !op.bare, "content": object{"application/json": object{"schema": g.Of(reflect.TypeOf(op.in))}}}
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
		"components": object{"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}, "schemas": g.Schemas},
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
	want := schematest.Encode(t, document())
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(openAPIDocument, want) {
		t.Errorf("openapi.json is not what the types say; run go test -run TestOpenAPI -update ./controller/api\n%s",
			cmp.Diff(string(openAPIDocument), string(want)))
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
