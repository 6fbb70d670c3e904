package lab_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// The leader decides something that it cannot publish, and is paused. Another one takes
// over and finishes the rollout. When the old leader wakes, its late order is refused, and
// it ends, to stand by when it is started again.
func TestPausedLeader(t *testing.T) {
	n := startNATS(t)
	way := newLine(t, n)
	l := pair(t, n, way.url)
	old, next := l.Controllers[0], l.Controllers[1]
	term := wire.Fence(n.control()[wire.SubjectLease].Sequence)

	publish(t, l, bundle(t, "1.1.0", "hello 1.1.0", false))
	begin(t, l, app, "1.1.0", twoWaves)
	activating(t, l, "1.1.0")
	way.set(true)
	if _, err := l.Run(t.Context(), "rollout", "abort", string(app), "--yes"); err != nil {
		t.Fatal(err) // it does not know yet that it is cut off
	}
	if err := old.Pause(); err != nil {
		t.Fatal(err)
	}
	silent := time.Now()
	late := wantIn(t, kept(t, old.State), "eu-west")
	way.set(false)
	if ordered := wantIn(t, journal(t, n.control()), "eu-west"); ordered.Sequence >= late.Sequence {
		t.Fatalf("the order that should be pending, %d, was published: %d", late.Sequence, ordered.Sequence)
	}
	takesOver(t, l, silent)
	rolled(t, l, "1.1.0")

	before := n.control()
	waiting := undo(t, l, old) // a command that the paused leader finds when it wakes
	if err := old.Wake(); err != nil {
		t.Fatal(err)
	}
	refused(t, waiting)
	ends(t, old)
	if last := said(t, old); !strings.HasPrefix(last, "ebbgate: another controller has taken over: ") {
		t.Errorf("the old leader ended with %q", last)
	} else {
		t.Log(last)
	}
	onlyOf(t, before, n.control())

	// The same order once more, whatever made the old leader end.
	creds, err := n.keys.MintControllerCreds("late")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := natsbus.ConnectController(t.Context(), natsbus.ControllerConfig{Servers: []string{n.url}, Creds: creds, Name: "late"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.PutWant(t.Context(), term, "eu-west", late.Envelope); !errors.Is(err, wire.ErrFenced) || !strings.Contains(err.Error(), "10071") {
		t.Errorf("the late order was answered with %v, want %v by code 10071", err, wire.ErrFenced)
	}
	onlyOf(t, before, n.control())
	rolled(t, l, "1.1.0") // still

	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	standsBy(t, old)
	next.Kill()
	if err := l.Turn(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	rolled(t, l, "1.1.0") // the abort that nobody else heard of is forgotten
	roll(t, l, "1.2.0")
}

// undo sends a controller the command to undo the last rollout, and returns the connection
// on which it answers. Of a paused one the kernel takes both.
func undo(t *testing.T, l *lab.Lab, c *lab.Controller) net.Conn {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL()+"/v1/apps/"+string(app)+"/undo", nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(l.Dir(), "controller", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

// refused checks that a command was answered with 503, or not before its controller ended.
func refused(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		t.Log("it ended before it answered")
	case err != nil:
		t.Error(err)
	default:
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a leader of old answered a command with %s", resp.Status)
		}
	}
}

// ends waits until a controller ends by itself.
func ends(t *testing.T, c *lab.Controller) {
	t.Helper()
	eventually(t, "a controller to end", func() error {
		if !c.Exited() {
			return errors.New("it goes on")
		}
		return nil
	})
}

// said returns the last line that a controller logged.
func said(t *testing.T, c *lab.Controller) string {
	t.Helper()
	text, err := c.Said()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// onlyOf checks that what was written to the controllers' stream since before is of the
// term that was the newest then.
func onlyOf(t *testing.T, before, now map[string]jetstream.RawStreamMsg) {
	t.Helper()
	term := before[wire.SubjectLease].Sequence
	records := journal(t, now)
	for subject, m := range now {
		if m.Sequence == before[subject].Sequence {
			continue
		}
		key, isRecord := strings.CutPrefix(subject, wire.JournalSubject(""))
		if region, isWant := strings.CutPrefix(subject, wire.WantSubject("")); isWant {
			key = "want." + region
			if string(wantIn(t, records, wire.Region(region)).Envelope) != string(m.Data) {
				t.Errorf("%s was written and is not what the journal has", subject)
			}
		} else if !isRecord {
			t.Errorf("%s was written", subject)
		}
		if records[key].Fence != term {
			t.Errorf("%s was written in the term %d, want %d", subject, records[key].Fence, term)
		}
	}
}

// record is a record of the journal.
type record struct {
	Fence    uint64
	Revision uint64
	Data     json.RawMessage
}

// journal returns the journal on the bus.
func journal(t *testing.T, control map[string]jetstream.RawStreamMsg) map[string]record {
	t.Helper()
	all := make(map[string]record)
	for subject, m := range control {
		key, ok := strings.CutPrefix(subject, wire.JournalSubject(""))
		if !ok || len(m.Data) == 0 { // an empty record is a deleted one
			continue
		}
		var r record
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Fatal(err)
		}
		all[key] = r
	}
	return all
}

// want is a signed order in a journal.
type want struct {
	Sequence uint64
	Envelope []byte
}

// wantIn returns the order of a region in a journal.
func wantIn(t *testing.T, records map[string]record, r wire.Region) (w want) {
	t.Helper()
	if err := json.Unmarshal(records["want."+string(r)].Data, &w); err != nil {
		t.Fatal(err)
	}
	return w
}
