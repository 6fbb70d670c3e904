package controller_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/fastly"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

// childEnv names the file that tells a test binary to be a controller.
const childEnv = "EBBGATE_TEST_CONTROLLER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := runChild(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childConfig is what a child controller is told.
type childConfig struct {
	Dir, Server, Creds, Key, Fastly string
	Root                            json.RawMessage
	Regions                         []wire.Region
	Point                           string // where to die; "": nowhere
	Nth                             int    // at which time, from 1
}

// call is one line on a child's standard input, answer one on its output.
type call struct {
	Do      string
	Enroll  *controller.EnrollRequest `json:",omitempty"`
	Index   wire.Digest
	Start   controller.StartRequest
	After   uint64
	Command string
}

type answer struct {
	Error   string
	App     controller.AppView
	Regions []controller.RegionView
	Audit   []controller.AuditEntry
	Info    controller.BundleInfo
}

// mortal kills its own process at the n-th time of a point.
type mortal struct {
	point string
	mu    sync.Mutex // guards left
	left  int
}

func (m *mortal) at(point string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if point != m.point {
		return
	}
	if m.left--; m.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// watched is a provider whose answer may come too late for its client.
type watched struct {
	quick
	die *mortal
}

func (w watched) Purge(ctx context.Context, r cdn.Request) (cdn.Receipt, error) {
	receipt, err := w.quick.Purge(ctx, r)
	w.die.at("provider answered")
	return receipt, err
}

func runChild(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cfg childConfig
	if err := json.Unmarshal(data, &cfg); err != nil {
		return err
	}
	trust, err := wire.NewTrust(cfg.Root)
	if err != nil {
		return err
	}
	key, err := wire.ParsePrivateKey(cfg.Key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	bus, err := natsbus.ConnectController(ctx, natsbus.Config{Servers: []string{cfg.Server}, Creds: []byte(cfg.Creds), Name: "main"})
	if err != nil {
		return err
	}
	defer bus.Close()
	purger, err := fastly.New(fastly.Config{Token: token, Endpoint: cfg.Fastly, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	die := &mortal{point: cfg.Point, left: cfg.Nth}
	regions := make(map[wire.Region]controller.RegionConfig)
	for _, r := range cfg.Regions {
		regions[r] = controller.RegionConfig{CDN: []controller.CDNTarget{{Provider: "fastly", Scope: scope(r)}}}
	}
	c, err := controller.New(controller.WithTrace(controller.Config{
		Dir: cfg.Dir, Bus: bus, Trust: trust, Key: key, Regions: regions, Purgers: []cdn.Purger{watched{quick{purger}, die}},
		Enroll: func(wire.Region, wire.AgentID) (controller.Enrolment, error) { return controller.Enrolment{}, nil },
		Tick:   20 * time.Millisecond, OriginFetch: 20 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, die.at))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	go serve(ctx, c, cancel)
	err = <-ended
	return err
}

// serve answers the calls on standard input until it is closed.
func serve(ctx context.Context, c *controller.Controller, stop func()) {
	defer stop()
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		var q call
		err := json.Unmarshal(in.Bytes(), &q)
		var a answer
		if err == nil {
			a, err = respond(ctx, c, q)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func respond(ctx context.Context, c *controller.Controller, q call) (a answer, err error) {
	switch q.Do {
	case "enroll":
		_, err = c.Enroll(ctx, *q.Enroll, "op")
	case "publish":
		a.Info, err = c.Publish(ctx, q.Index, "op")
	case "start":
		a.App, err = c.Start(ctx, q.Start, "op")
	case "app":
		a.App, err = c.App(ctx, edge)
		a.App.Explain = nil
		if a.App.Rollout != nil {
			r := rollout.Rollout{ID: a.App.Rollout.ID, Status: a.App.Rollout.Status, Halt: a.App.Rollout.Halt, Target: a.App.Rollout.Target}
			a.App.Rollout = &r
		}
	case "regions":
		a.Regions, err = c.Regions(ctx)
	case "audit":
		a.Audit, err = c.Audit(ctx, q.After)
	default:
		err = fmt.Errorf("unknown call %q", q.Do)
	}
	return a, err
}
