package natsbus_test

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// TestReturnIsSpread looks at when 200 agents try again whose server hangs up on all of
// them: between one and six times the reconnect wait, and evenly. At the default wait a
// fleet of 10,000 is back in 30 s then, 400 a second.
func TestReturnIsSpread(t *testing.T) {
	const agents, wait = 200, 200 * time.Millisecond
	keys, err := hub.OpenKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gaps := make([]time.Duration, agents)
	var wg sync.WaitGroup
	for i := range agents {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		name := "n" + strconv.Itoa(i)
		creds, err := keys.MintAgentCreds(wire.AgentID(name), "eu")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer l.Close()
			var came [2]time.Time
			for j := range came {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				came[j] = time.Now()
				c.Close()
			}
			gaps[i] = came[1].Sub(came[0])
		})
		wg.Go(func() {
			b, err := natsbus.ConnectAgent(t.Context(), natsbus.Config{Servers: []string{"nats://" + l.Addr().String()}, Creds: creds, Name: name, ReconnectWait: wait})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(b.Close)
		})
	}
	wg.Wait()
	slices.Sort(gaps)
	t.Logf("first %v, a tenth by %v, half by %v, nine tenths by %v, last %v", gaps[0], gaps[agents/10], gaps[agents/2], gaps[agents*9/10], gaps[agents-1])
	// Evenly between 1 and 6 waits these are 1.5, 3.5 and 5.5.
	for _, tt := range []struct {
		gap      time.Duration
		from, to float64
	}{{gaps[0], 0.99, 1.5}, {gaps[agents/10], 1.1, 2.5}, {gaps[agents/2], 2.5, 4.7}, {gaps[agents*9/10], 4.5, 6.5}} {
		if n := tt.gap.Seconds() / wait.Seconds(); n < tt.from || n > tt.to {
			t.Errorf("%v is %.1f waits, want %g to %g", tt.gap, n, tt.from, tt.to)
		}
	}
}
