package agent

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/wire"
)

// TestAPeerPassesTheOrderOn cuts one of two agents off the bus: the order reaches it
// through the other, and counts because of its signature, not of who brought it.
func TestAPeerPassesTheOrderOn(t *testing.T) {
	f := newFleet(t)
	b, bus := f.withMemory()
	check(t, os.WriteFile(f.path("gossip.key"), []byte(strings.Repeat("k", 32)), 0o600))
	cfg := f.config(bus)
	cfg.Gossip = &Gossip{Bind: "127.0.0.1:0", Key: f.path("gossip.key")}
	one, _ := run(t, cfg)
	eventually(t, "the first to listen", func() bool { return one.peers.Load() != nil })

	const other = wire.AgentID("n2")
	cfg = f.config(b.Agent(other))
	cfg.ID, cfg.State = other, f.path("state2")
	cfg.Apps = map[wire.App]dataplane.Config{testApp: {Kind: dataplane.KindBuiltin, Listen: "127.0.0.1:0"}}
	cfg.Gossip = &Gossip{Bind: "127.0.0.1:0", Key: f.path("gossip.key"), Seeds: []string{one.peers.Load().Addr()}}
	two, _ := run(t, cfg)
	both := []wire.AgentID{testAgent, other}
	eventually(t, "two members", func() bool {
		return slices.Equal(one.report(0).Members, both) && slices.Equal(two.report(0).Members, both)
	})

	v1 := at(f.publish(site("1", "one")), 1)
	o := activate(nil, v1)
	o.Next.Phase = wire.PhaseStage
	f.order(o)
	eventually(t, "both armed", func() bool {
		for _, a := range []*Agent{one, two} {
			if n := a.apps[0].report().Next; n == nil || n.State != wire.StateArmed {
				return false
			}
		}
		return true
	})
	b.DisconnectAgent(other)
	f.order(activate(nil, v1))
	eventually(t, "the one that is connected", runs(one, 1, wire.StateConfirmed))
	eventually(t, "the one that is not", runs(two, 1, wire.StateConfirmed))
	if n := two.report(0).Desired; n != f.sequence {
		t.Errorf("acts on order %d, want %d", n, f.sequence)
	}
}
