package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

var testKey = bytes.Repeat([]byte{7}, KeySize)

// node is a member under test with what it has been given. It trusts every document,
// and so passes it on, unless deaf.
type node struct {
	*Peers
	deaf bool

	mu  sync.Mutex // guards got
	got []string
}

func start(t *testing.T, cfg Config) *node {
	t.Helper()
	n := new(node)
	if cfg.Bind == "" {
		cfg.Bind = "127.0.0.1:0"
	}
	if cfg.Key == nil {
		cfg.Key = testKey
	}
	if cfg.Region == "" {
		cfg.Region = "eu-west"
	}
	cfg.Rejoin = 500 * time.Millisecond
	ready := make(chan struct{})
	cfg.OnDesired = func(envelope []byte) {
		<-ready
		n.mu.Lock()
		n.got = append(n.got, string(envelope))
		n.mu.Unlock()
		if !n.deaf {
			if err := n.Broadcast(envelope); err != nil {
				t.Error(err)
			}
		}
	}
	var err error
	if n.Peers, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	close(ready)
	t.Cleanup(func() {
		begin := time.Now()
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
	return n
}

// region starts agents a0 … that know a0.
func region(t *testing.T, count int) []*node {
	t.Helper()
	nodes := []*node{start(t, Config{Name: "a0"})}
	for i := 1; i < count; i++ {
		nodes = append(nodes, start(t, Config{Name: wire.AgentID(fmt.Sprintf("a%d", i)), Seeds: []string{nodes[0].Addr()}}))
	}
	for _, n := range nodes {
		n.mustSee(t, names(count)...)
	}
	return nodes
}

func names(count int) (ids []wire.AgentID) {
	for i := range count {
		ids = append(ids, wire.AgentID(fmt.Sprintf("a%d", i)))
	}
	slices.Sort(ids)
	return ids
}

func (n *node) received() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

func (n *node) mustSee(t *testing.T, want ...wire.AgentID) {
	t.Helper()
	eventually(t, func() string { return cmp.Diff(want, n.Members()) })
}

// eventually waits until wrong returns "".
func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		text := wrong()
		if text == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(text)
		}
	}
}

func mustHave(t *testing.T, nodes []*node, document []byte) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, func() string {
			if !slices.Contains(n.received(), string(document)) {
				return fmt.Sprintf("%s has not got the document of %d bytes", n.cfg.Name, len(document))
			}
			return ""
		})
	}
}

func TestDeadMemberIsNoticedAndComesBack(t *testing.T) {
	t.Parallel()
	nodes := region(t, 4)
	bind := nodes[3].Addr()
	order := []byte("order 1")
	if err := nodes[0].Broadcast(order); err != nil {
		t.Fatal(err)
	}
	mustHave(t, nodes[1:], order)

	if err := nodes[3].stop(false); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[:3] {
		n.mustSee(t, "a0", "a1", "a2")
	}
	again := start(t, Config{Name: "a3", Bind: bind, Seeds: []string{nodes[0].Addr()}})
	for _, n := range append(nodes[:3:3], again) {
		n.mustSee(t, names(4)...)
	}
	mustHave(t, []*node{again}, order)
}

func TestLeavingIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	nodes := region(t, 3)
	begin := time.Now()
	for range 2 {
		if err := nodes[2].Close(); err != nil {
			t.Fatal(err)
		}
	}
	nodes[0].mustSee(t, "a0", "a1")
	nodes[1].mustSee(t, "a0", "a1")
	// A death takes more than four seconds to be believed.
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("noticed after %s", took)
	}
}

func TestDocumentReachesAll(t *testing.T) {
	t.Parallel()
	nodes := region(t, 5)
	for i, size := range []int{1, 3 << 10, wire.MaxDesired} {
		document := bytes.Repeat([]byte{byte('a' + i)}, size)
		begin := time.Now()
		for range 2 {
			if err := nodes[i].Broadcast(document); err != nil {
				t.Fatal(err)
			}
		}
		mustHave(t, append(slices.Clone(nodes[:i]), nodes[i+1:]...), document)
		t.Logf("%d bytes reached 5 members in %s", size, time.Since(begin))
	}
	for _, n := range nodes {
		got := n.received()
		slices.Sort(got)
		if len(got) != len(slices.Compact(got)) {
			t.Errorf("%s got a document twice", n.cfg.Name)
		}
	}
	for _, size := range []int{0, wire.MaxDesired + 1} {
		if err := nodes[0].Broadcast(make([]byte, size)); err == nil {
			t.Errorf("Broadcast of %d bytes: no error", size)
		}
	}
}

func TestUntrustedDocumentGoesNoFurther(t *testing.T) {
	t.Parallel()
	// a1 knows the sender a0, a2 does too, but a1 and a2 trust nothing.
	nodes := region(t, 3)
	nodes[1].deaf, nodes[2].deaf = true, true
	if err := nodes[0].Broadcast([]byte("invented")); err != nil {
		t.Fatal(err)
	}
	mustHave(t, nodes[1:], []byte("invented"))
	for _, n := range nodes[1:] {
		if state := n.spread.LocalState(true); state != nil {
			t.Errorf("%s offers what it does not trust", n.cfg.Name)
		}
	}
}

func TestStrangersAreNotMembers(t *testing.T) {
	t.Parallel()
	home := start(t, Config{Name: "a0"})
	seeds := []string{home.Addr()}
	start(t, Config{Name: "thief", Key: bytes.Repeat([]byte{8}, KeySize), Seeds: seeds})
	start(t, Config{Name: "tourist", Region: "us-east", Seeds: seeds})
	rotated := start(t, Config{Name: "a1", Key: bytes.Repeat([]byte{9}, KeySize), OldKeys: [][]byte{testKey}, Seeds: seeds})
	// The friend joins after the strangers have tried.
	friend := start(t, Config{Name: "a2", Seeds: seeds})
	home.mustSee(t, "a0", "a2")
	friend.mustSee(t, "a0", "a2")
	// It hears the old key, but is not heard before the others have its new one.
	if slices.Contains(home.Members(), "a1") {
		t.Error("home hears a key it does not have")
	}
	rotated.mustSee(t, "a1")
}

// Not parallel: it measures the heap, which all tests share.
func TestGarbageIsHarmless(t *testing.T) {
	nodes := region(t, 2)
	before := liveHeap()

	udp, err := net.Dial("udp", nodes[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 2000 {
		if _, err := udp.Write(bytes.Repeat([]byte{byte(i)}, 1+i%1400)); err != nil {
			t.Fatal(err)
		}
	}
	// Streams that say nothing, far more than there are slots: all but a slotful are
	// closed at once.
	var conns []net.Conn
	for range 4 * maxStreams {
		conn, err := net.Dial("tcp", nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	var closed atomic.Int32
	var reads sync.WaitGroup
	for _, c := range conns {
		reads.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(tcpTimeout / 2))
			if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				closed.Add(1)
			}
		})
	}
	reads.Wait()
	if closed := closed.Load(); closed < 3*maxStreams {
		t.Errorf("%d of %d idle streams were closed", closed, len(conns))
	}
	for _, c := range conns {
		c.Close()
	}
	for i := range maxStreams {
		conn, err := net.Dial("tcp", nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(bytes.Repeat([]byte{byte(i)}, 512)) // it may be closed already
		conn.Close()
	}
	order := []byte("order after the garbage")
	if err := nodes[1].Broadcast(order); err != nil {
		t.Fatal(err)
	}
	mustHave(t, nodes[:1], order)
	nodes[0].mustSee(t, "a0", "a1")
	if grown := liveHeap() - before; grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// liveHeap returns the bytes that are still in use after a collection.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Name: "a0", Region: "eu-west", Bind: "127.0.0.1:0", Key: testKey}
	for name, change := range map[string]func(*Config){
		"name":      func(c *Config) { c.Name = "A 0" },
		"region":    func(c *Config) { c.Region = "" },
		"bind":      func(c *Config) { c.Bind = "localhost:1" },
		"advertise": func(c *Config) { c.Advertise = "0.0.0.0:1" },
		"key":       func(c *Config) { c.Key = testKey[1:] },
		"seeds":     func(c *Config) { c.Seeds = []string{"nowhere"} },
		"rejoin":    func(c *Config) { c.Rejoin = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			p, err := New(cfg)
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			if want := "gossip: " + name + ": "; len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
				t.Errorf("error %q does not begin with %q", err, want)
			}
		})
	}
}

func FuzzNote(f *testing.F) {
	f.Add(note{kindHave, wire.DigestOf(nil), "a0"}.encode())
	f.Add([]byte{kindWant})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := decodeNote(b); ok && !bytes.Equal(n.encode(), b) {
			t.Errorf("%q reads as %+v", b, n)
		}
	})
}

func TestLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	w := &logWriter{to: slog.New(slog.NewTextHandler(&out, nil))}
	for range 1000 {
		if _, err := w.Write([]byte("[ERR] memberlist: Decrypt packet failed\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("[DEBUG] memberlist: chatter\n")); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(out.String(), "level=WARN"); lines == 0 || lines > 30 {
		t.Errorf("%d lines", lines)
	}
	if strings.Contains(out.String(), "chatter") {
		t.Error("debug lines at level info")
	}
}
