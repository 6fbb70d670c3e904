package agent

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// limited runs an agent whose software can bear only so much.
func limited(t *testing.T, limits wire.Limits) (*fleet, *Agent) {
	t.Helper()
	f := newFleet(t)
	_, bus := f.withMemory()
	cfg := f.config(bus)
	plane := cfg.Apps[testApp]
	plane.Limits = limits
	cfg.Apps[testApp] = plane
	a, _ := run(t, cfg)
	return f, a
}

// sized returns a bundle of one page.
func sized(version string, bytes int) content {
	return content{version: wire.Version(version), files: map[string]string{"site/index.html": strings.Repeat(version[:1], bytes)}}
}

// A bundle may allow itself more than the software on the node can bear.
func TestTheNodesOwnLimits(t *testing.T) {
	for _, tt := range []struct {
		limits wire.Limits
		want   string
	}{
		{wire.Limits{File: 100}, "cannot stage web 2: manifest: files: site/index.html has 200 bytes, limits.file of this node allows 100"},
		{wire.Limits{Bytes: 199}, "files: hold 200 bytes, limits.bytes of this node allows 199"},
		{wire.Limits{Growth: 1.9}, "limits.growth: allows 1.9 times the 100 bytes of 1, it has 200"},
	} {
		f, a := limited(t, tt.limits)
		v1 := at(f.publish(sized("1", 100)), 1)
		f.order(activate(nil, v1))
		eventually(t, "one", runs(a, 1, wire.StateConfirmed))
		big := sized("2", 200)
		big.limits = wire.Limits{File: 1 << 20}
		f.order(activate(&v1, at(f.publish(big), 2)))
		eventually(t, "the refusal in the report: "+tt.want, func() bool {
			n := a.apps[0].report().Next
			return n != nil && n.State == wire.StateFailed && strings.Contains(n.Error, tt.want)
		})
		if body, _ := get(t, f.listen, "/"); body != strings.Repeat("1", 100) {
			t.Errorf("serves %.10q", body)
		}
		f.order(activate(&v1, at(f.publish(sized("3", 100)), 3)))
		eventually(t, "what it can bear", runs(a, 3, wire.StateConfirmed))
	}
}

// A node that was away while its region grew step by step catches up in one.
func TestGrowthDoesNotKeepALateNode(t *testing.T) {
	f, a := limited(t, wire.Limits{Growth: 1.5})
	v1 := at(f.publish(sized("1", 100)), 1)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	v3 := at(f.publish(sized("3", 225)), 3)
	f.order(wire.Order{Base: &v3})
	eventually(t, "three", runs(a, 3, wire.StateConfirmed, wire.StateCommitted))
}

// What the data plane refused is still on the disk when the agent starts again. It is not
// staged for that.
func TestARestartForgetsNoRefusal(t *testing.T) {
	f := newFleet(t)
	_, bus := f.withMemory()
	a, stop := run(t, f.config(bus))
	v1 := at(f.publish(site("1", "one")), 1)
	f.order(activate(nil, v1))
	eventually(t, "one", runs(a, 1, wire.StateConfirmed))
	blank := site("2", "two")
	blank.files["builtin.json"] = `{"respond": [{"path": "", "status": 200}]}`
	order := activate(&v1, at(f.publish(blank), 2))
	order.Next.Phase = wire.PhaseStage
	f.order(order)
	refused := func(a *Agent) func() bool {
		return func() bool {
			n := a.apps[0].report().Next
			return n != nil && n.State == wire.StateFailed && strings.Contains(n.Error, `cannot stage web 2: builtin.json: respond[0].path: "" is not an absolute path`)
		}
	}
	eventually(t, "the refusal in the report", refused(a))
	stop()
	a, _ = run(t, f.config(f.reconnect()))
	eventually(t, "the refusal again", refused(a))
	eventually(t, "one still", runs(a, 1, wire.StateConfirmed, wire.StateCommitted))
}
