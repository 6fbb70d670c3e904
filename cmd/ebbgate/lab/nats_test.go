package lab_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/internal/servertest"
	"github.com/ebbgate/ebbgate/wire"
)

// natsServer is a real nats-server that is no controller's own.
type natsServer struct {
	t     *testing.T
	url   string
	store string // directory of its streams
	dir   string
	keys  *hub.Keys
	cmd   *exec.Cmd // nil: it does not run
}

var natsProgram = sync.OnceValues(func() (string, error) {
	program := filepath.Join(bin, "nats-server")
	out, err := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build nats-server: %w\n%s", err, out)
	}
	return program, nil
})

// startNATS starts a server that ends with the test.
func startNATS(t *testing.T) *natsServer {
	t.Helper()
	if testing.Short() {
		t.Skip("a whole fleet takes too long for -short")
	}
	s := &natsServer{t: t, dir: t.TempDir()}
	s.store = filepath.Join(s.dir, "store")
	var err error
	if s.keys, err = hub.OpenKeys(filepath.Join(s.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	address := servertest.FreeAddress(t)
	s.url = "nats://" + address
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.keys.RenderConfig(hub.ClusterConfig{Name: "ebbgate", StoreDir: s.store, Nodes: []hub.Node{{Name: "n1", Host: host}}})
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("server_name: n1\nlisten: %q\njetstream {store_dir: %q, sync_interval: always}\ninclude %q\n", address, s.store, hub.AccountsName)
	for name, text := range map[string][]byte{"n1.conf": []byte(conf), hub.AccountsName: files[hub.AccountsName]} {
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, err := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("log of nats-server (%v):\n%s", err, log[max(0, len(log)-4000):])
		}
	})
	s.start()
	return s
}

// section is the nats section of a controller.yaml that connects to address, while agents
// connect to the server itself.
func (s *natsServer) section(url string) string {
	return fmt.Sprintf("hub: %s\nservers: [%s]\nadvertise: [%s]", filepath.Join(s.dir, "keys"), url, s.url)
}

// start starts the server over what it has stored, and waits until it takes connections.
func (s *natsServer) start() {
	s.t.Helper()
	program, err := natsProgram()
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(program, "-c", filepath.Join(s.dir, "n1.conf"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "nats-server to take connections", func() error {
		c, err := net.DialTimeout("tcp", s.url[len("nats://"):], time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// kill kills the server as a power cut would.
func (s *natsServer) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // says that it was killed
	s.cmd = nil
}

// control returns the last message of every subject of the controllers' stream.
func (s *natsServer) control() map[string]jetstream.RawStreamMsg {
	s.t.Helper()
	all, err := s.tryControl()
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// tryControl is control while the stream may not be there.
func (s *natsServer) tryControl() (map[string]jetstream.RawStreamMsg, error) {
	creds, err := s.keys.MintControllerCreds("reader")
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(s.url, nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(wire.InboxPrefix("reader")))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(s.t.Context(), wire.StreamControl)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(s.t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]jetstream.RawStreamMsg)
	for subject := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(s.t.Context(), subject)
		if err != nil {
			return nil, err
		}
		all[subject] = *m
	}
	return all, nil
}

// line is a TCP connection to a server that can be cut.
type line struct {
	url string
	to  string

	mu    sync.Mutex // guards all below
	cut   bool
	conns []net.Conn
}

// newLine lays a line to the server.
func newLine(t *testing.T, s *natsServer) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{url: "nats://" + listener.Addr().String(), to: s.url[len("nats://"):]}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.set(true)
		wg.Wait()
	})
	return l
}

func (l *line) carry(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer to.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns = append(l.conns, c, to)
	l.mu.Unlock()
	go func() {
		_, _ = io.Copy(to, c)
		to.Close()
	}()
	_, _ = io.Copy(c, to)
}

// set cuts the line, with all that is on its way, or mends it.
func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// eventually repeats check until it returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s: %v", what, err)
		}
	}
}
