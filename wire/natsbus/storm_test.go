package natsbus

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
)

// TestReturnIsSpread looks at when 200 agents try again whose server hangs up on all of
// them: between one and six times the reconnect wait, and evenly. At the default wait a
// fleet of 10,000 is back in 30 s then, 400 a second. A busy machine can only make them
// later, so that they come late enough is measured, and the most that is added is what the
// client was told.
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
			b, err := ConnectAgent(t.Context(), Config{Servers: []string{"nats://" + l.Addr().String()}, Creds: creds, Name: name, ReconnectWait: wait})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(b.Close)
			if o := b.(*agentBus).nc.Opts; o.ReconnectWait != wait || o.ReconnectJitter != 5*wait || o.ReconnectJitterTLS != 5*wait {
				t.Errorf("the client waits %v and up to %v more, %v with TLS; want %v and %v", o.ReconnectWait, o.ReconnectJitter, o.ReconnectJitterTLS, wait, 5*wait)
			}
		})
	}
	wg.Wait()
	slices.Sort(gaps)
	t.Logf("first %v, a tenth by %v, half by %v, nine tenths by %v, last %v", gaps[0], gaps[agents/10], gaps[agents/2], gaps[agents*9/10], gaps[agents-1])
	// Evenly between 1 and 6 waits these are 1, 1.5, 3.5 and 5.5.
	for _, tt := range []struct {
		gap   time.Duration
		least float64
	}{{gaps[0], 0.99}, {gaps[agents/10], 1.1}, {gaps[agents/2], 2.5}, {gaps[agents*9/10], 4.5}} {
		if n := tt.gap.Seconds() / wait.Seconds(); n < tt.least {
			t.Errorf("%v is %.1f waits, want at least %g", tt.gap, n, tt.least)
		}
	}
}
