package gossip

import (
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxStreams bounds the incoming streams that are served at once: memberlist starts a
// goroutine for each, and each may claim to bring 20 MiB.
const maxStreams = 32

// transport is memberlist's own with bounds: on incoming streams in number, on outgoing
// ones in time, where memberlist has none for a document it sends.
type transport struct {
	*memberlist.NetTransport
	streams chan net.Conn
	slots   chan struct{}
	done    chan struct{}
	pump    sync.WaitGroup
	once    sync.Once
}

func newTransport(bind netip.AddrPort, logger *log.Logger) (*transport, error) {
	var inner *memberlist.NetTransport
	var err error
	for range 10 { // with port 0 the port that TCP was given may be taken for UDP
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind.Addr().String()}, BindPort: int(bind.Port()), Logger: logger,
		})
		if err == nil || bind.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	t := &transport{
		NetTransport: inner,
		streams:      make(chan net.Conn),
		slots:        make(chan struct{}, maxStreams),
		done:         make(chan struct{}),
	}
	t.pump.Go(t.admit)
	return t, nil
}

// admit passes streams on while there are slots, and closes the others at once.
func (t *transport) admit() {
	for {
		select {
		case <-t.done:
			return
		case conn := <-t.NetTransport.StreamCh():
			select {
			case t.slots <- struct{}{}:
			default:
				conn.Close()
				continue
			}
			slot := &slotConn{Conn: conn, free: func() { <-t.slots }}
			select {
			case t.streams <- slot:
			case <-t.done:
				slot.Close()
				return
			}
		}
	}
}

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := t.NetTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(timeout))
}

// Shutdown implements memberlist.Transport. The listeners have to end first: they wait
// for somebody to take what they hold.
func (t *transport) Shutdown() (err error) {
	t.once.Do(func() {
		err = t.NetTransport.Shutdown()
		close(t.done)
		t.pump.Wait()
	})
	return err
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	free func()
	once sync.Once
}

func (c *slotConn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}
