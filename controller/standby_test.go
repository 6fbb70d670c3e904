package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/membus"
)

// A standby that was cut off does not take its own silence for the leader's.
func TestStandbyCutOff(t *testing.T) {
	k, dir := newKeys(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		bus, err := membus.New(membus.Config{})
		must(t, err)
		defer bus.Close()
		leader := bus.Controller("main")
		defer leader.Close()
		must(t, leader.Setup(t.Context(), 1))
		fence, err := leader.TakeLease(t.Context(), "main", 0)
		must(t, err)
		mine := bus.Controller("standby")
		defer mine.Close()
		c, err := controller.New(controller.Config{
			Dir: dir, Bus: mine, Trust: k.trust, Key: k.control, Log: slog.New(slog.DiscardHandler),
			Regions: map[wire.Region]controller.RegionConfig{ams: {}},
		})
		must(t, err)
		defer c.Close()
		led := make(chan error, 1)
		go func() { led <- c.Lead(t.Context()) }()
		beats := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Second) {
				_ = leader.Heartbeat("main", fence)
			}
		}
		time.Sleep(500 * time.Millisecond)
		beats(4 * time.Second)
		bus.Down()
		time.Sleep(time.Minute)
		bus.Up()
		time.Sleep(1900 * time.Millisecond) // the standby looks before the leader is heard again
		beats(time.Minute)
		select {
		case err := <-led:
			t.Fatalf("the standby took the lease of a leader that lives: %v", err)
		default:
		}
		died := time.Now()
		must(t, <-led)
		if took := time.Since(died); took < 7*time.Second || took > 13*time.Second {
			t.Errorf("the standby took over %s after the leader's death, want about 10s", took)
		}
	})
}

// A standby knows nothing of the fleet that counts: it says who leads, and not that there
// is nothing.
func TestStandbySendsAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	f.drive()
	d := f.launch("second", t.TempDir())
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "standing by") {
			return errors.New("does not stand by")
		}
		return nil
	})
	ctx := t.Context()
	for what, ask := range map[string]func() error{
		"apps":    func() error { _, err := d.Apps(ctx); return err },
		"app":     func() error { _, err := d.App(ctx, edge); return err },
		"history": func() error { _, err := d.History(ctx, edge); return err },
		"bundles": func() error { _, err := d.Bundles(ctx, ""); return err },
		"regions": func() error { _, err := d.Regions(ctx); return err },
		"agents":  func() error { _, err := d.Agents(ctx, ""); return err },
		"purges":  func() error { _, err := d.Purges(ctx, "", ""); return err },
		"audit":   func() error { _, err := d.Audit(ctx, 0); return err },
	} {
		err := ask()
		wantErr(t, what+" of a standby", err, controller.ErrStandby)
		if err != nil && !strings.Contains(err.Error(), "this controller stands by, ") {
			t.Errorf("%s: refused with %v, want who leads", what, err)
		}
	}
}

// A standby keeps what the bus has: the loss of leader and bus together costs nothing.
func TestStandbyCopies(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: impatient})
	first := f.drive()
	f.roll(first, f.publish(first, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	dir := t.TempDir()
	second := f.launch("second", dir)
	eventually(t, func() error {
		if !strings.Contains(second.log.String(), "standing by") {
			return errors.New("does not stand by")
		}
		return nil
	})
	f.publish(first, site(edge, "2", "a2", "b")) // after the first copy
	must(t, first.Drain(t.Context(), ams, "a1", true, "op"))
	first.settles()
	keys := []string{controller.AgentKey(ams, "a1"), controller.AppKey(edge), controller.WantKey(ams)}
	eventually(t, func() error {
		theirs, err := f.bus.Controller("reader").Journal(t.Context())
		must(t, err)
		for _, key := range keys {
			mine, err := first.JournalRecord(key)
			must(t, err)
			copied, err := second.JournalRecord(key)
			must(t, err)
			if !bytes.Equal(mine, theirs[key]) || !bytes.Equal(mine, copied) {
				return fmt.Errorf("%s has not been copied", key)
			}
		}
		return nil
	})
	must(t, first.stop())
	must(t, second.stop())
	f.bus = newFleet(t, spec{}).bus
	second = f.launch("second", dir)
	second.leads()
	f.holds(second, edge, map[wire.Region]controller.Held{ams: {Version: "1", Epoch: 1}})
	bundles, err := second.Bundles(t.Context(), edge)
	if err != nil || len(bundles) != 2 {
		t.Errorf("bundles are %+v, %v, want two", bundles, err)
	}
	agents, err := second.Agents(t.Context(), ams)
	if err != nil || len(agents) != 1 || !agents[0].Drained {
		t.Errorf("agents are %+v, %v, want one that is drained", agents, err)
	}
}

// After a bus was wiped a controller that was away may lead first, from an older journal.
// What the one that led last had decided since does not count then, and is not lost
// without a word.
func TestReplacedRecordsAreKept(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: impatient})
	first := f.drive()
	dir, key := t.TempDir(), controller.AgentKey(ams, "a1")
	second := f.launch("second", dir)
	eventually(t, func() error {
		v, err := second.JournalRecord(key)
		if err == nil && v == nil {
			err = errors.New("the agent has not been copied")
		}
		return err
	})
	must(t, second.stop())
	must(t, first.stop())
	first = f.launch("main", f.dir) // in a later term than the second has seen
	first.leads()
	must(t, first.Drain(t.Context(), ams, "a1", true, "op"))
	must(t, first.stop())

	f.bus = newFleet(t, spec{}).bus
	second = f.launch("second", dir)
	second.leads()
	for _, drained := range []bool{true, false} {
		must(t, second.Drain(t.Context(), ams, "a1", drained, "op"))
	}
	first = f.launch("main", f.dir)
	told := "keys=[" + key + "]"
	eventually(t, func() error {
		if !strings.Contains(first.log.String(), told) {
			return errors.New("nothing was said")
		}
		return nil
	})
	must(t, second.stop())
	first.leads()
	if n := strings.Count(first.log.String(), told); n != 1 {
		t.Errorf("it was said %d times, want once", n)
	}
	agents, err := first.Agents(t.Context(), ams)
	if err != nil || len(agents) != 1 || agents[0].Drained {
		t.Errorf("agents are %+v, %v, want one in service", agents, err)
	}
	var kept []string
	for _, e := range f.auditHolds(first) {
		if e.Kind == "replaced" {
			data, _, err := controller.RecordData(e.Inputs)
			must(t, err)
			kept = append(kept, e.Text+" "+string(data))
		}
	}
	if len(kept) != 1 || !strings.Contains(kept[0], key) || !strings.Contains(kept[0], `"drained":true`) {
		t.Errorf("kept are %q, want the agent that was drained", kept)
	}
}

// After the loss of disk and bus together, orders go on above what agents have acted on.
func TestAllWiped(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	a := f.agents["a1"]
	a.mu.Lock()
	a.seen = 1 << 21 // of an earlier life; too far ahead at once
	a.mu.Unlock()
	eventually(t, func() error {
		a.poke()
		if !strings.Contains(d.log.String(), "too far ahead") {
			return errors.New("nothing about the claim")
		}
		return nil
	})
	a.mu.Lock()
	a.seen, a.backwards = 5000, nil
	a.mu.Unlock()
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	views, err := d.Regions(t.Context())
	must(t, err)
	for _, v := range views {
		if v.Region == ams && (v.Sequence <= 5000 || v.Sequence > 5100) {
			t.Errorf("the sequence of %s is %d, want a few above 5000", v.Region, v.Sequence)
		}
	}
	a.mu.Lock()
	a.backwards = nil // refused until its report was heard, as it should
	a.mu.Unlock()
}

// A report that is older than the last one is ignored, and the log says so once.
func TestReportOlder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	a := f.agents["a1"]
	a.born = 2
	d := f.drive()
	eventually(t, func() error {
		agents, err := d.Agents(t.Context(), ams)
		must(t, err)
		if agents[0].Report == nil {
			return errors.New("not heard")
		}
		return nil
	})
	a.mu.Lock()
	a.born = 1
	a.mu.Unlock()
	for range 5 {
		a.poke()
		eventually(t, func() error {
			if !strings.Contains(d.log.String(), "older than its last one") {
				return errors.New("the log does not say that a report was ignored")
			}
			return nil
		})
	}
	if n := strings.Count(d.log.String(), "older than its last one"); n != 1 {
		t.Errorf("the log says %d times that reports are ignored, want once", n)
	}
}

// A removed agent is not waited for, stays removed, and its name can be enrolled again.
func TestRemove(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1", "a2")})
	d := f.drive()
	wantErr(t, "remove a stranger", d.Remove(t.Context(), ams, "a9", "op"), controller.ErrNotFound)
	f.agents["a2"].behave(behaviour{silent: true})
	must(t, d.Drain(t.Context(), ams, "a2", true, "op")) // a second revision of its record
	must(t, d.Remove(t.Context(), ams, "a2", "op"))
	wantErr(t, "remove it again", d.Remove(t.Context(), ams, "a2", "op"), controller.ErrNotFound)
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")
	count := func(want int) {
		t.Helper()
		agents, err := d.Agents(t.Context(), ams)
		if err != nil || len(agents) != want {
			t.Errorf("%d agents are enrolled, %v, want %d", len(agents), err, want)
		}
	}
	count(1)
	d = f.bounce(d, f.dir, func() {})
	count(1)
	_, err := d.Enroll(t.Context(), controller.EnrollRequest{Region: ams, Agent: "a2", Key: newKey(t).Public()}, "op")
	must(t, err)
	count(2)
	d = f.bounce(d, f.dir, func() {})
	count(2)
	removals := 0
	for _, e := range f.auditHolds(d) {
		if e.Kind == "remove" {
			removals++
		}
	}
	if removals != 1 {
		t.Errorf("%d entries about removals, want 1", removals)
	}
}

// The end of a purge that cannot be recorded at once is recorded later.
func TestPurgeRecordedLater(t *testing.T) {
	t.Parallel()
	verified := make(chan struct{}, 16)
	resume := make(chan struct{})
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) {
		*c = controller.WithTrace(*c, func(point string) {
			if point == "purge verified" {
				select {
				case verified <- struct{}{}:
				default:
				}
				<-resume
			}
		})
	}})
	d := f.drive()
	info := f.publish(d, site(edge, "1", "a", "b"))
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	<-verified
	d.SetLeading(false)
	close(resume)
	eventually(t, func() error {
		if !strings.Contains(d.log.String(), "the end of a purge could not be recorded") {
			return errors.New("it was recorded")
		}
		return nil
	})
	d.SetLeading(true)
	f.ends(d, info, "done")
}

// A file that is no database of a controller, or a damaged one, is refused in one line.
func TestNotADatabase(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "controller.db")
	k := newKeys(t)
	bus, err := membus.New(membus.Config{})
	must(t, err)
	defer bus.Close()
	cfg := controller.Config{Bus: bus.Controller("main"), Trust: k.trust, Key: k.control, Regions: map[wire.Region]controller.RegionConfig{ams: {}}}
	cfg.Dir = filepath.Dir(whole)
	c, err := controller.New(cfg)
	must(t, err)
	must(t, c.Close())
	good, err := os.ReadFile(whole)
	must(t, err)
	torn := append([]byte(nil), good...)
	for i := 2 * 4096; i < len(torn); i++ {
		torn[i] = 0x5a
	}
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte(strings.Repeat("not a database\n", 4096)), "cut short": good[:2*4096], "torn": torn, "short": good[:100],
	} {
		cfg.Dir = t.TempDir()
		path := filepath.Join(cfg.Dir, "controller.db")
		must(t, os.WriteFile(path, content, 0o600))
		_, err := controller.New(cfg)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot open "+path+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got error %v", name, err)
		} else if name == "empty" && !strings.HasSuffix(err.Error(), "it is not a controller's database") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
