package natsbus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// stage is a server with a leader, two regions with wants, a journal and a hostile agent
// of eu-west.
type stage struct {
	*embedded
	c      wire.ControllerBus
	f      wire.Fence
	creds  []byte
	evil   *nats.Conn
	errs   chan error
	events *nats.Conn // sees everything in CTL
}

func newStage(t *testing.T) *stage {
	s := &stage{embedded: start(t)}
	k := s.s.Keys()
	s.c = controller(t, k, "leader", s.url)
	must(t, s.c.Setup(t.Context(), 1))
	var err error
	s.f, err = s.c.TakeLease(t.Context(), "leader", 0)
	must(t, err)
	must(t, s.c.PutWant(t.Context(), s.f, "eu-west", []byte("want of eu-west")))
	must(t, s.c.PutWant(t.Context(), s.f, "us-east", []byte("want of us-east")))
	must(t, s.c.PutJournal(t.Context(), s.f, "app", []byte("journal")))
	must(t, s.c.PutBlob(t.Context(), wire.DigestOf([]byte("blob")), []byte("blob")))
	s.creds, err = k.MintAgentCreds("evil", "eu-west")
	must(t, err)
	s.evil, s.errs = raw(t, "evil", s.creds, s.url)
	watch, err := k.MintControllerCreds("events")
	must(t, err)
	s.events, _ = raw(t, "events", watch, s.url)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// violation waits for the server to refuse what was sent.
func (s *stage) violation(t *testing.T, subject string) {
	t.Helper()
	must(t, s.evil.FlushTimeout(5*time.Second))
	select {
	case err := <-s.errs:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), `"`+subject+`"`) {
			t.Errorf("refused with %v, want a permissions violation on %q", err, subject)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%s was not refused", subject)
	}
}

// unchanged checks what the leader keeps.
func (s *stage) unchanged(t *testing.T) {
	t.Helper()
	for r, want := range map[wire.Region]string{"eu-west": "want of eu-west", "us-east": "want of us-east"} {
		if got, err := s.c.Want(t.Context(), r); err != nil || string(got) != want {
			t.Errorf("want of %s is now %q, %v", r, got, err)
		}
	}
	if holder, f, err := s.c.Lease(t.Context()); err != nil || holder != "leader" || f != s.f {
		t.Errorf("lease is now %q, %d, %v", holder, f, err)
	}
	journal, err := s.c.Journal(t.Context())
	if err != nil || len(journal) != 1 || string(journal["app"]) != "journal" {
		t.Errorf("journal is now %q, %v", journal, err)
	}
}

func TestAgentMayNotPublish(t *testing.T) {
	s := newStage(t)
	direct := wire.DirectGetSubject
	for _, subject := range []string{
		"eg.status.eu-west.node-1", // another agent
		"eg.status.us-east.evil",   // another region
		"eg.want.eu-west", "eg.journal.app", "eg.ctl.lease", "eg.ctl.alive", "eg.beacon", "eg.note.eu-west",
		"eg.blob." + wire.DigestOf([]byte("forged")).String(),
		direct(wire.StreamControl, "eg.want.us-east"),
		direct(wire.StreamControl, "eg.journal.app"),
		direct(wire.StreamControl, "eg.ctl.lease"),
		direct(wire.StreamStatus, "eg.status.eu-west.node-1"),
		"$JS.API.DIRECT.GET.EG_CTL", // the bare form reads everything
		"$JS.API.DIRECT.GET.EG_BLOB",
		"$JS.API.STREAM.MSG.GET.EG_CTL", "$JS.API.STREAM.INFO.EG_CTL", "$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.DELETE.EG_CTL", "$JS.API.STREAM.PURGE.EG_CTL", "$JS.API.CONSUMER.CREATE.EG_CTL",
		"$SYS.REQ.SERVER.PING", "_INBOX_node-1.x",
	} {
		body, err := json.Marshal(map[string]string{"last_by_subj": "eg.want.us-east"})
		must(t, err)
		must(t, s.evil.PublishRequest(subject, "_INBOX_evil.x", body))
		s.violation(t, subject)
	}
	s.unchanged(t)
}

func TestAgentMayNotSubscribe(t *testing.T) {
	s := newStage(t)
	for _, subject := range []string{
		">", "*.>", "eg.>", "eg.note.*", "eg.note.us-east", "eg.status.>", "eg.want.eu-west", "eg.ctl.alive",
		"_INBOX_node-1.>", "_INBOX.>", "$JS.>", "$JS.API.DIRECT.GET.EG_CTL.eg.want.eu-west", "$SYS.>", "_R_.>",
	} {
		_, err := s.evil.SubscribeSync(subject)
		must(t, err)
		s.violation(t, subject)
	}
}

// A request names where its answer goes, and permissions do not cover that. Whatever an
// agent names, no want, journal or lease may change, and another agent's report may not
// be replaced by what the agent chooses.
func TestReplySubjectAttack(t *testing.T) {
	s := newStage(t)
	victim := agent(t, s.s.Keys(), "eu-west", "node-1", s.url)
	must(t, victim.Report(t.Context(), "eu-west", "node-1", []byte("report")))
	seen, err := s.events.SubscribeSync("eg.>")
	must(t, err)
	must(t, s.events.Flush())
	echo, err := s.evil.SubscribeSync("eg.note.eu-west")
	must(t, err)
	own := wire.DirectGetSubject(wire.StreamControl, "eg.want.eu-west")
	status := wire.StatusSubject("eu-west", "evil")
	for _, reply := range []string{
		"eg.want.eu-west", "eg.want.us-east", "eg.journal.app", "eg.ctl.lease", "eg.ctl.alive", "eg.beacon", "eg.note.eu-west",
		"eg.status.eu-west.node-1",
		"$JS.API.STREAM.PURGE.EG_CTL", "$JS.API.STREAM.DELETE.EG_CTL",
		wire.DirectGetSubject(wire.StreamControl, "eg.want.us-east"),
	} {
		for _, subject := range []string{own, status} {
			must(t, s.evil.PublishRequest(subject, reply, nil))
		}
	}
	// The server answers in order: once this is answered, so are those before.
	m, err := s.evil.Request(own, nil, 5*time.Second)
	must(t, err)
	if string(m.Data) != "want of eu-west" {
		t.Errorf("own want is %q", m.Data)
	}
	// The attack is real: within EDGE the server did publish where it was told to.
	for range 2 {
		if _, err := echo.NextMsg(5 * time.Second); err != nil {
			t.Errorf("the answer did not reach the chosen subject: %v", err)
		}
	}
	must(t, s.events.Flush())
	s.unchanged(t)
	reports := 0
	for {
		m, err := seen.NextMsg(200 * time.Millisecond)
		if errors.Is(err, nats.ErrTimeout) {
			break
		}
		must(t, err)
		if m.Subject != status {
			t.Errorf("an answer reached %s in %s: %.60q", m.Subject, wire.AccountControl, m.Data)
			continue
		}
		reports++
	}
	if reports != 11 {
		t.Errorf("%d reports of the attacker arrived, want 11", reports)
	}
}

func TestRevocation(t *testing.T) {
	s := newStage(t)
	k := s.s.Keys()
	other := agent(t, k, "eu-west", "node-1", s.url)
	key, err := hub.PublicKey(s.creds)
	must(t, err)
	must(t, s.s.Revoke(key))
	until(t, func() error {
		if !s.evil.IsClosed() {
			return errors.New("a revoked agent is still connected")
		}
		return nil
	})
	if _, err := nats.Connect(s.url, nats.UserCredentialBytes(s.creds)); !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrAuthRevoked) {
		t.Errorf("a revoked agent connects again: %v", err)
	}
	must(t, other.Report(t.Context(), "eu-west", "node-1", []byte("report")))

	// It stays revoked after a restart, and an agent enrolled again is welcome.
	s.Down(t)
	s.Up(t)
	if _, err := nats.Connect(s.url, nats.UserCredentialBytes(s.creds)); err == nil {
		t.Error("a revoked agent connects after a restart")
	}
	again := agent(t, s.s.Keys(), "eu-west", "evil", s.url)
	until(t, func() error { return again.Report(t.Context(), "eu-west", "evil", []byte("report")) })

	// Without rights an agent does not give up: they may be given back.
	refused, err := natsbus.ConnectAgent(t.Context(), config(t, "evil", s.creds, s.url))
	must(t, err)
	t.Cleanup(refused.Close)
	if _, err := refused.Want(t.Context(), "eu-west"); !errors.Is(err, wire.ErrDisconnected) {
		t.Errorf("want of a revoked agent: %v", err)
	}
}

// Hostile messages are measured and dropped before anything looks into them.
func TestHostileMessages(t *testing.T) {
	s := newStage(t)
	a := agent(t, s.s.Keys(), "eu-west", "node-1", s.url)
	notes, beats := make(chan []byte, 64), make(chan string, 64)
	stop, err := a.Notes("eu-west", func(b []byte) { notes <- b })
	must(t, err)
	defer stop()
	stopBeats, err := s.c.Heartbeats(func(holder string, f wire.Fence) { beats <- fmt.Sprint(holder, f) })
	must(t, err)
	defer stopBeats()
	for _, data := range [][]byte{nil, make([]byte, wire.MaxDesired+1), []byte("good")} {
		must(t, s.events.Publish("eg.note.eu-west", data))
	}
	for _, data := range []string{"", "x", "1", "1 ", "-1 a", "1 \x00", "1 " + strings.Repeat("a", 1000), "7 good"} {
		must(t, s.events.Publish(wire.SubjectAlive, []byte(data)))
	}
	until(t, func() error {
		select {
		case b := <-notes:
			if b == nil {
				return errors.New("only a nil so far")
			}
			if string(b) != "good" {
				t.Fatalf("a note of %d bytes passed", len(b))
			}
			return nil
		default:
			return errors.New("no note yet")
		}
	})
	if got := <-beats; got != "good7" && got != "good 7" {
		t.Errorf("the heartbeat %q passed", got)
	}
}
