package api_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// Approving and passing over a gate take an approver, however the route is written. Every
// command of the controller can be given.
func TestCommands(t *testing.T) {
	fake, url := serve(t, api.Config{})
	fake.Show(apitest.Film(rollout.StatusDone))
	for _, name := range []string{"approve", "promote", "%61pprove", "promot%65"} {
		status, e, _ := ask(t, "POST", url+"/v1/apps/edge-proxy/"+name, tokenOf(api.RoleOperator), "")
		if want := "token operator has the role operator, this needs approver"; status != 403 || e.Code != "forbidden" || e.Message != want {
			t.Errorf("%s as operator: %d %+v, want 403: %s", name, status, e, want)
		}
	}
	var want []string
	for _, name := range controller.Commands {
		role := api.RoleOperator
		if name == "approve" || name == "promote" {
			role = api.RoleApprover
		}
		if _, err := client(t, url, role).Command(t.Context(), apitest.App, name, rollout.Of{}); err != nil {
			t.Errorf("%s as %s: %v", name, role, err)
		}
		want = append(want, fmt.Sprintf("%s: %s edge-proxy", role, name))
	}
	if diff := cmp.Diff(want, fake.Changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What the engine refuses says so by its code, whoever asks.
func TestRefusals(t *testing.T) {
	fake, url := serve(t, api.Config{})
	for _, c := range []struct {
		scene, command string
		role           api.Role
		code, message  string
	}{
		{"own", "approve", api.RoleApprover, "status", "cannot approve edge-proxy: not in this status: approver started rollout 20261123-120000-000-abcdef; somebody else has to approve"},
		{"running", "approve", api.RoleAdmin, "status", "cannot approve edge-proxy: not in this status: rollout 20261123-120000-000-abcdef waits for no approval"},
		{"running", "undo", api.RoleOperator, "active", "cannot undo edge-proxy: a rollout is under way: rollout 20261123-120000-000-abcdef is running; abort it first"},
		{"done", "step-back", api.RoleOperator, "not_active", "cannot step back edge-proxy: no rollout is under way"},
		{"done", "abort-all", api.RoleOperator, "not_active", "cannot abort edge-proxy: no rollout is under way"},
		{"expired", "undo", api.RoleOperator, "nothing_to_undo", "cannot undo edge-proxy: nothing to undo: the last rollout left no region on other content than before"},
	} {
		fake.Play(apitest.Scene(c.scene))
		status, e, _ := ask(t, "POST", url+"/v1/apps/edge-proxy/"+c.command, tokenOf(c.role), "")
		if status != 409 || e.Code != c.code || e.Message != c.message {
			t.Errorf("%s at %s: %d %+v, want 409 %s: %s", c.command, c.scene, status, e, c.code, c.message)
		}
	}
	if c := fake.Changes(); len(c) > 0 {
		t.Errorf("changed: %v", c)
	}
}

// A command may name in its body what was looked at, and is refused once that is not so.
func TestBoundCommands(t *testing.T) {
	fake, url := serve(t, api.Config{})
	fake.Play(apitest.Scene("approval"))
	const cannot = "cannot approve edge-proxy: the app has moved on: "
	for _, c := range []struct {
		command, body string
		status        int
		code, message string
	}{
		{"approve", `{"step":2}`, 409, "moved", cannot + "what waits is step 1 of wave 1, and not step 2"},
		{"approve", `{"rollout":"r0"}`, 409, "moved", cannot + "its rollout is 20261123-120000-000-abcdef, which is holding, and not r0"},
		{"pause", `{"step":1}`, 422, "invalid_document", "pause: step: is for approve and promote only, and so is wave"},
		{"approve", `{"steps":1}`, 400, "invalid", `request: steps: is not a known field`},
		{"approve", `{"rollout":"20261123-120000-000-abcdef","wave":1,"step":1}`, 200, "", ""},
	} {
		status, e, _ := ask(t, "POST", url+"/v1/apps/edge-proxy/"+c.command, tokenOf(api.RoleAdmin), c.body)
		if status != c.status || e.Code != c.code || e.Message != c.message {
			t.Errorf("%s %s: %d %+v, want %d %s: %s", c.command, c.body, status, e, c.status, c.code, c.message)
		}
	}
	if diff := cmp.Diff([]string{"admin: approve edge-proxy of 20261123-120000-000-abcdef"}, fake.Changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
