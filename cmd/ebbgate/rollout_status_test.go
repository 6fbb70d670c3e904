package main

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

// While a rollout goes back, what its agents confirm is not the version that the line names.
func TestStatusCountsItsOwnVersion(t *testing.T) {
	seen := map[rollout.RolloutStatus]bool{}
	for _, v := range apitest.Film(rollout.StatusReverted) {
		status, line := v.Summary.Rollout.Status, statusLine(v.Summary)
		seen[status] = true
		if got, want := strings.Contains(line, "agents confirmed"), status == rollout.StatusRunning; got != want {
			t.Errorf("%s: %s", status, line)
		}
	}
	if !seen[rollout.StatusRunning] || !seen[rollout.StatusReverting] {
		t.Errorf("the film shows only %v", seen)
	}
}
