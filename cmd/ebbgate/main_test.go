package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/api/apitest"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ebbgate": main, "inject": inject})
}

// TestScripts runs the real binary against the real API over a controller in memory.
// Besides the commands of testscript there are
//
//	exits CODE ARG…     runs ebbgate, which has to exit with CODE; a failure has to say so
//	                    in one line of standard error, "ebbgate: …"
//	changes [LINE…]     what the controller was made to change so far, exactly
//	film STATUS         sets the rollout that the controller shows
//	scene NAME          has it show the real engine at a scene instead
//	fail KIND           makes the controller refuse everything
//	events FILE NUMBER  each line of a file is an event in JSON, and so many are there
//	tamper [FILE [AT]]  changes a byte in the middle of a file, or the audit log
//
// Each script has a trusted fleet in trust/ and the tokens of the four roles in tokens/. The
// scripts named outage-… use [outageCmds] instead: they run a fleet of real processes.
func TestScripts(t *testing.T) {
	cmds := maps.Clone(outageCmds)
	maps.Copy(cmds, map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "changes": changes, "film": film, "scene": scene, "fail": fail, "tamper": tamper, "events": events,
	})
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                cmds,
		// servers: a server that is missing is a failure.
		Condition: func(cond string) (bool, error) {
			if cond != "servers" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1", nil
		},
	})
}

type fakeKey struct{}

func setup(e *testscript.Env) error {
	if err := initTrust(filepath.Join(e.WorkDir, "trust"), "lab", time.Now().Add(time.Hour)); err != nil {
		return err
	}
	trust, err := readTrust(filepath.Join(e.WorkDir, "trust", "root.json"))
	if err != nil {
		return err
	}
	var lines string
	dir := filepath.Join(e.WorkDir, "tokens")
	for _, role := range []api.Role{api.RoleViewer, api.RoleOperator, api.RoleApprover, api.RoleAdmin} {
		token := "ebbgate-" + strings.Repeat(role.String(), 8)
		lines += api.TokenLine(role.String(), role, token)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, role.String()), []byte(token+"\n"), 0o600)); err != nil {
			return err
		}
	}
	tokens, err := api.ParseTokens([]byte(lines))
	if err != nil {
		return err
	}
	fake := apitest.New(trust)
	srv, err := api.New(api.Config{Controller: fake, Tokens: tokens, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	e.Defer(func() {
		if err := errors.Join(srv.Close(), <-done); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	// A port that is free and that nobody listens on.
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer closed.Close()
	e.Values[fakeKey{}] = fake
	e.Values[outageKey{}] = &outage{load: make(map[string]*lab.Load)}
	e.Setenv("EBBGATE_SERVER", "http://"+l.Addr().String())
	e.Setenv("EBBGATE_TOKEN_FILE", filepath.Join(dir, "operator"))
	e.Setenv("NOBODY", "http://"+closed.Addr().String())
	e.Setenv("ADMIN", filepath.Join(dir, "admin"))
	e.Setenv("APPROVER", filepath.Join(dir, "approver"))
	e.Setenv("OPERATOR", filepath.Join(dir, "operator"))
	e.Setenv("VIEWER", filepath.Join(dir, "viewer"))
	return nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if i := slices.Index(args, "@last"); i > 0 { // the last rollout of the app that is started
		ts.Check(ts.Exec("ebbgate", "rollout", "history", args[3], "-o", "name"))
		args[i], _, _ = strings.Cut(ts.ReadFile("stdout"), "\n")
	}
	err = ts.Exec("ebbgate", args[1:]...)
	got := 0
	if ee := (*exec.ExitError)(nil); errors.As(err, &ee) {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	stderr := ts.ReadFile("stderr")
	if got != want {
		ts.Fatalf("ebbgate %s exited with %d, want %d\n%s", strings.Join(args[1:], " "), got, want, stderr)
	}
	if said := strings.Count(stderr, "ebbgate: "); want == exitFailure || want == exitAuth || want == exitTimeout {
		if lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n"); said != 1 || !strings.HasPrefix(lines[len(lines)-1], "ebbgate: ") {
			ts.Fatalf("want one last line \"ebbgate: …\":\n%s", stderr)
		}
	} else if said > 1 || want == exitOK && said > 0 {
		ts.Fatalf("exit %d with:\n%s", got, stderr)
	}
}

func changes(ts *testscript.TestScript, _ bool, want []string) {
	got := ts.Value(fakeKey{}).(*apitest.Fake).Changes()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		ts.Fatalf("changed %q, want %q", got, want)
	}
}

func film(ts *testscript.TestScript, _ bool, args []string) {
	fake := ts.Value(fakeKey{}).(*apitest.Fake)
	if args[0] == "stuck" {
		fake.Show(apitest.Film(rollout.StatusDone)[:3])
		return
	}
	fake.Show(apitest.Film(rollout.RolloutStatus(args[0])))
}

func scene(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value(fakeKey{}).(*apitest.Fake).Play(apitest.Scene(args[0]))
}

func fail(ts *testscript.TestScript, _ bool, args []string) {
	errs := map[string]error{"standby": controller.ErrStandby, "signature": fmt.Errorf("manifest: %w", wire.ErrSignature), "broken": errors.New("first line\nsecond line")}
	ts.Value(fakeKey{}).(*apitest.Fake).Fail(errs[args[0]])
}

func events(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var e controller.Event
		ts.Check(d.Decode(&e))
		if _, err := d.Token(); !errors.Is(err, io.EOF) || e.At.IsZero() || e.App == "" || e.Kind == "" || e.Text == "" || (e.Kind == "decision") != (e.Decision != nil) {
			ts.Fatalf("is not one event: %s", line)
		}
		got++
	}
	if got != want {
		ts.Fatalf("%d events, want %d", got, want)
	}
}

func tamper(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Value(fakeKey{}).(*apitest.Fake).Tamper()
		return
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at := 530 // inside the first chunk, the manifest: a tar header has 512 bytes
	if len(args) > 1 {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(path, data, 0o644))
}
