package controller_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn/cdntest"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// kill is a point of the controller and at which time it dies there.
type kill struct {
	point string
	nth   int
}

func (k kill) String() string { return fmt.Sprintf("%s %d", k.point, k.nth) }

// Killed at any point, and started again, a controller ends where an undisturbed one
// does: nothing acknowledged is lost, nothing goes back, and every barrier holds.
func TestKill(t *testing.T) {
	for _, kills := range [][]kill{
		{}, // undisturbed
		{{"agent enrolled", 2}},
		{{"bundle registered", 1}},
		{{"bundle registered", 2}},
		{{"start taken", 1}},
		{{"start taken", 2}},
		{{"committed", 3}},
		{{"committed", 12}},
		{{"committed", 8}},
		{{"journal published", 2}},
		{{"journal published", 9}},
		{{"ordered", 3}},
		{{"ordered", 10}},
		{{"purge journaled", 3}},
		{{"purge stored", 3}},
		{{"provider answered", 1}},
		{{"provider answered", 6}},
		{{"purge accepted", 3}},
		{{"purge verified", 2}},
		{{"purge recorded", 3}},
		{{"ordered", 8}, {"lease taken", 1}},
		{{"purge stored", 4}, {"reconciled", 1}},
		{{"committed", 7}, {"loaded", 1}, {"journal published", 1}, {"provider answered", 1}},
	} {
		name := "undisturbed"
		if len(kills) > 0 {
			name = fmt.Sprint(kills)
		}
		t.Run(strings.Trim(name, "[]"), func(t *testing.T) {
			t.Parallel()
			newYard(t).play(kills)
		})
	}
}

// yard is all that outlives a controller: the hub, the agents, the CDN, and a disk.
type yard struct {
	keys
	t      *testing.T
	cfg    childConfig
	line   *timeline
	agents []*standIn
	bus    wire.ControllerBus // for uploads
	kills  []kill

	in     io.WriteCloser // of the child that runs, as the rest
	out    *bufio.Reader
	child  *exec.Cmd
	deaths int
}

func newYard(t *testing.T) *yard {
	t.Helper()
	server, err := hub.Start(hub.Config{Dir: t.TempDir(), LazySync: true})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	y := &yard{keys: newKeys(t), t: t, line: &timeline{}}
	t.Cleanup(func() { y.line.dump(t) })
	provider := httptest.NewServer(cdntest.NewFastly(cdntest.FastlyConfig{Token: token, OnPurge: func(p cdntest.Purge) {
		y.line.add(moment{what: "purge", region: regionOf(p.Scope), detail: fmt.Sprint(p.Selectors)})
	}}))
	t.Cleanup(provider.Close)
	creds, err := server.Keys().MintControllerCreds("main")
	must(t, err)
	y.cfg = childConfig{
		Dir: t.TempDir(), Server: server.ClientURL(), Creds: string(creds), Key: y.control.Secret(), Fastly: provider.URL,
		Root: y.trust.Envelope(), Regions: []wire.Region{ams, fra},
	}
	y.bus, err = natsbus.ConnectController(t.Context(), natsbus.Config{Servers: []string{y.cfg.Server}, Creds: creds, Name: "uploads"})
	must(t, err)
	t.Cleanup(y.bus.Close)
	must(t, y.bus.Setup(t.Context(), 1))
	for _, who := range []struct {
		region wire.Region
		id     wire.AgentID
	}{{ams, "a1"}, {ams, "a2"}, {fra, "f1"}} {
		creds, err := server.Keys().MintAgentCreds(who.id, who.region)
		must(t, err)
		bus, err := natsbus.ConnectAgent(t.Context(), natsbus.Config{Servers: []string{y.cfg.Server}, Creds: creds, Name: string(who.id)})
		must(t, err)
		a := newStandIn(t, y.keys, who.region, who.id, bus, y.line)
		y.agents = append(y.agents, a)
		startAgent(t, a)
	}
	t.Cleanup(y.bury)
	return y
}

// play drives two rollouts through a controller that dies at each of the kills.
func (y *yard) play(kills []kill) {
	y.t.Helper()
	y.kills = kills
	for _, a := range y.agents {
		y.ask(call{Do: "enroll", Enroll: &controller.EnrollRequest{Region: a.region, Agent: a.id, Key: a.key.Public()}})
	}
	waves := plan([]wire.Region{ams}, []wire.Region{fra})
	for _, c := range []content{site(edge, "1", "a", "b"), site(edge, "2", "a2", "b")} {
		index := c.pack(y.t, y.bus.PutBlob, y.author)
		digest := y.ask(call{Do: "publish", Index: index}).Info.Digest
		y.start(controller.StartRequest{App: edge, Version: c.version, Plan: waves}, digest)
		y.ends(digest)
	}
	if want := len(kills); y.deaths != want {
		y.t.Errorf("the controller died %d times, want %d: a point was never reached", y.deaths, want)
	}
	y.check()
}

// start starts a rollout, once: what was taken before a death must still be there after.
func (y *yard) start(req controller.StartRequest, digest wire.Digest) {
	y.t.Helper()
	a, err := y.try(call{Do: "start", Start: req})
	if err == nil {
		return
	}
	y.until(func() error {
		a, err = y.try(call{Do: "app"})
		if err == nil && (a.App.Rollout == nil || a.App.Rollout.Target.Digest != digest) {
			_, err = y.try(call{Do: "start", Start: req})
		}
		return err
	})
}

func (y *yard) ends(digest wire.Digest) {
	y.t.Helper()
	y.until(func() error {
		a, err := y.try(call{Do: "app"})
		if err != nil {
			return err
		}
		r := a.App.Rollout
		if r == nil || r.Target.Digest != digest {
			y.t.Fatal("a rollout that was acknowledged is lost")
		}
		if r.Status != rollout.StatusDone {
			return fmt.Errorf("the rollout is %s: %s", r.Status, r.Halt)
		}
		return nil
	})
}

func (y *yard) check() {
	y.t.Helper()
	type held struct {
		Version wire.Version
		Epoch   wire.Epoch
	}
	got := make(map[wire.Region]held)
	for _, v := range y.ask(call{Do: "regions"}).Regions {
		got[v.Region] = held{v.Apps[edge].Version, v.Apps[edge].Epoch}
	}
	if d := diff.Diff(map[wire.Region]held{ams: {"2", 2}, fra: {"2", 2}}, got); d != "" {
		y.t.Errorf("regions (-want +got):\n%s", d)
	}
	for e := wire.Epoch(1); e <= 2; e++ {
		barrier(y.t, y.line, ams, e, y.line.first(confirmed(edge, fra, e)))
		barrier(y.t, y.line, fra, e, -1)
		if first, last := y.line.first(confirmed(edge, fra, e)), y.line.last(confirmed(edge, ams, e)); first < last {
			y.t.Errorf("epoch %d: the second wave began at %d, before the end of the first at %d", e, first, last)
		}
	}
	for _, a := range y.agents {
		a.mu.Lock()
		for _, b := range a.backwards {
			y.t.Error(b)
		}
		a.mu.Unlock()
	}
	var all []controller.AuditEntry
	for {
		var after uint64
		var prev wire.Digest
		if n := len(all); n > 0 {
			after, prev = all[n-1].ID, all[n-1].Hash
		}
		more := y.ask(call{Do: "audit", After: after}).Audit
		if len(more) == 0 {
			break
		}
		must(y.t, controller.VerifyAudit(prev, more))
		all = append(all, more...)
	}
	count := make(map[string]int)
	for _, e := range all {
		count[e.Kind]++
	}
	for kind, want := range map[string]int{"enroll": 3, "publish": 2, "start": 2, "barrier": 4, "commit": 4, "done": 2} {
		if count[kind] != want {
			y.t.Errorf("%d audit entries of %s, want %d", count[kind], kind, want)
		}
	}
}

// until repeats check until it returns nil; a controller that died meanwhile is started again.
func (y *yard) until(check func() error) {
	y.t.Helper()
	eventually(y.t, check)
}

// ask repeats a call until it is answered.
func (y *yard) ask(q call) (a answer) {
	y.t.Helper()
	y.until(func() (err error) {
		a, err = y.try(q)
		return err
	})
	return a
}

// try makes one call to the controller, which is started if none runs.
func (y *yard) try(q call) (a answer, err error) {
	if y.child == nil {
		y.raise()
	}
	line, err := json.Marshal(q)
	must(y.t, err)
	_, err = y.in.Write(append(line, '\n'))
	var reply []byte
	if err == nil {
		reply, err = y.out.ReadBytes('\n')
	}
	if err != nil { // it died
		y.bury()
		y.deaths++
		return a, errors.New("the controller died")
	}
	must(y.t, json.Unmarshal(reply, &a))
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// raise starts a controller that dies at the next kill.
func (y *yard) raise() {
	y.t.Helper()
	cfg := y.cfg
	if y.deaths < len(y.kills) {
		cfg.Point, cfg.Nth = y.kills[y.deaths].point, y.kills[y.deaths].nth
	}
	data, err := json.Marshal(cfg)
	must(y.t, err)
	path := filepath.Join(y.t.TempDir(), "child.json")
	must(y.t, os.WriteFile(path, data, 0o600))
	y.child = exec.Command(os.Args[0])
	y.child.Env = append(os.Environ(), childEnv+"="+path)
	y.child.Stderr = y.t.Output()
	y.child.WaitDelay = time.Second
	y.in, err = y.child.StdinPipe()
	must(y.t, err)
	out, err := y.child.StdoutPipe()
	must(y.t, err)
	y.out = bufio.NewReader(out)
	must(y.t, y.child.Start())
}

// bury ends the controller that runs, if one does.
func (y *yard) bury() {
	if y.child == nil {
		return
	}
	_ = y.in.Close()
	_ = y.child.Process.Kill() // fails when it is dead already
	_ = y.child.Wait()
	y.child = nil
}
