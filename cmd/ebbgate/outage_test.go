package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/lab"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// outage is the fleet of a script that runs one.
type outage struct {
	lab  *lab.Lab
	load map[string]*lab.Load // app → requests under way
}

type outageKey struct{}

func theOutage(ts *testscript.TestScript) *outage { return ts.Value(outageKey{}).(*outage) }

// outageCmds are the commands of the scripts that play an outage on a whole fleet, all
// processes of their own:
//
//	fleet N APP=FILE… REGION…   starts a controller and N agents in each region; FILE is the
//	                            app's section of agent.yaml, in which @listen@ is an address.
//	                            From here on ebbgate speaks to this fleet, and $KEY is the
//	                            key of its release author, $FLEET its directory
//	waits COUNT REGEXP ARG…     runs ebbgate until COUNT lines of what it prints match
//	load APP PATH               begins to ask every node for PATH, never twice
//	served APP VERSION…         ends that: every request was answered 200 from these alone
//	serves APP PATH VERSION…    every node comes to answer PATH with 200, from one of these
//	agents kill|start           kills all agents at once, or starts them
//	controller kill|start       kills the controller, and NATS with it, or starts it
//	post PATH BODY              sends BODY to the API as an admin; prints how it is answered
var outageCmds = map[string]func(*testscript.TestScript, bool, []string){
	"fleet": fleet, "waits": waits, "load": load, "served": served, "serves": serves, "agents": agents, "controller": theController, "post": post,
}

// agentBinary builds ebbgate-agent beside the ebbgate that the scripts run.
var agentBinary = sync.OnceValues(func() (string, error) {
	ebbgate, err := exec.LookPath("ebbgate")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(ebbgate), "ebbgate-agent")
	if out, err := exec.Command("go", "build", "-o", path, "../ebbgate-agent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the agent: %w: %s", err, out)
	}
	return path, lab.Depends("../../agent", "../../wire", "../ebbgate-agent")
})

func fleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: fleet N APP=FILE… REGION…")
	}
	agent, err := agentBinary()
	ts.Check(err)
	// Not below $WORK: the path of a control socket has to be short.
	dir, err := os.MkdirTemp("", "fleet-")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	cfg := lab.Config{Dir: dir, Ebbgate: filepath.Join(filepath.Dir(agent), "ebbgate"), Agent: agent, Lost: 10 * time.Second}
	cfg.Agents, err = strconv.Atoi(args[0])
	ts.Check(err)
	for _, arg := range args[1:] {
		app, file, isApp := strings.Cut(arg, "=")
		if !isApp {
			cfg.Regions = append(cfg.Regions, wire.Region(arg))
			continue
		}
		section := ts.ReadFile(file)
		cfg.Apps = append(cfg.Apps, lab.App{Name: wire.App(app), Plane: func(_ wire.Region, addr string) string {
			return strings.ReplaceAll(section, "@listen@", addr)
		}})
	}
	o := theOutage(ts)
	o.lab, err = lab.Start(context.Background(), cfg)
	ts.Check(err)
	ts.Defer(func() {
		o.lab.Close()
		var logs bytes.Buffer
		if err := o.lab.Logs(&logs); err != nil {
			ts.Logf("%v", err)
		}
		ts.Logf("%s", &logs) // shown if the script fails
	})
	for _, v := range append(o.lab.Env(), "KEY="+o.lab.Key(), "FLEET="+dir) {
		name, value, _ := strings.Cut(v, "=")
		ts.Setenv(name, value)
	}
}

// outageTime bounds every wait of a script.
const outageTime = time.Minute

func waits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: waits COUNT REGEXP ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for end := time.Now().Add(outageTime); ; time.Sleep(100 * time.Millisecond) {
		out, err := theOutage(ts).lab.Run(context.Background(), args[2:]...)
		if err == nil && len(re.FindAllString(out, -1)) == want {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("ebbgate %s: %v, want %d lines of %q in:\n%s", strings.Join(args[2:], " "), err, want, re, out)
		}
	}
}

func load(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: load APP PATH")
	}
	o := theOutage(ts)
	var urls []string
	for _, n := range o.lab.Nodes {
		urls = append(urls, n.URL[wire.App(args[0])]+args[1])
	}
	l := lab.StartLoad(urls)
	o.load[args[0]] = l
	ts.Defer(func() { l.Stop() })
}

func served(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: served APP VERSION…")
	}
	n, versions := theOutage(ts).load[args[0]].Stop(), args[1:]
	ts.Logf("%s", n)
	if n.Sent == 0 || n.Status[http.StatusOK] != n.Sent {
		ts.Fatalf("not every request was answered 200: %v: %v, %s", n, n.Status, n.LastErr)
	}
	for _, release := range wire.Keys(n.Served) {
		if !slices.Contains(versions, versionOf(release)) {
			ts.Fatalf("%d answers came from %q, want only %v", n.Served[release], release, versions)
		}
	}
}

// versionOf returns the version of a release's ID, <version>-<digest>@<epoch>.
func versionOf(release string) string {
	version, _, _ := strings.Cut(release, "-")
	return version
}

func serves(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: serves APP PATH VERSION…")
	}
	client := &http.Client{Timeout: 5 * time.Second}
	end := time.Now().Add(outageTime) // of all of them
	for _, n := range theOutage(ts).lab.Nodes {
		var status, version string
		for ; status != "200 OK"; time.Sleep(10 * time.Millisecond) {
			resp, err := client.Get(n.URL[wire.App(args[0])] + args[1])
			if err == nil {
				resp.Body.Close()
				status, version = resp.Status, versionOf(resp.Header.Get("X-Ebbgate-Release"))
			} else {
				status = err.Error()
			}
			if time.Now().After(end) {
				break
			}
		}
		if status != "200 OK" || !slices.Contains(args[2:], version) {
			ts.Fatalf("%s answers %s from %q, want %v", n.ID, status, version, args[2:])
		}
	}
}

func theController(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "kill" && args[0] != "start" {
		ts.Fatalf("usage: controller kill|start")
	}
	l := theOutage(ts).lab
	if args[0] == "kill" {
		l.KillController()
		return
	}
	ts.Check(l.StartController(context.Background()))
}

func agents(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "kill" && args[0] != "start" {
		ts.Fatalf("usage: agents kill|start")
	}
	l := theOutage(ts).lab
	var g errgroup.Group
	for _, n := range l.Nodes {
		g.Go(func() error {
			if args[0] == "start" {
				return l.StartAgent(n.ID)
			}
			l.KillAgent(n.ID)
			return nil
		})
	}
	ts.Check(g.Wait())
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: post PATH BODY")
	}
	token, err := os.ReadFile(ts.Getenv("EBBGATE_TOKEN_FILE"))
	ts.Check(err)
	req, err := http.NewRequest(http.MethodPost, ts.Getenv("EBBGATE_SERVER")+args[0], strings.NewReader(args[1]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s", resp.StatusCode, body)
}

// inject is a program of its own, "inject DIR KEY": a tool that somebody with an author's
// key may have written, which takes no notice of limits, schemas and the version before.
func inject() {
	if err := injectBundle(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "inject:", err)
		os.Exit(1)
	}
}

func injectBundle(dir, keyFile string) error {
	key, err := readKey(keyFile)
	if err != nil {
		return err
	}
	var spec struct {
		App     wire.App
		Version wire.Version
	}
	text, err := os.ReadFile(filepath.Join(dir, "bundle.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &spec)
	}
	if err != nil {
		return err
	}
	m := &wire.Manifest{Format: 1, App: spec.App, Version: spec.Version}
	contents := make(map[wire.Digest][]byte)
	files := os.DirFS(filepath.Join(dir, "files"))
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		digest := wire.DigestOf(data)
		contents[digest] = data
		m.Files = append(m.Files, wire.File{Path: path, Mode: wire.ModeRegular, Size: int64(len(data)), SHA256: digest})
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(m.Files, func(a, b wire.File) int { return strings.Compare(a.Path, b.Path) })
	payload, err := m.Encode()
	if err != nil {
		return err
	}
	sigs, err := wire.Sign(wire.TypeManifest, payload, key)
	if err != nil {
		return err
	}
	cl, err := (&cli{server: os.Getenv("EBBGATE_SERVER"), tokenFile: os.Getenv("EBBGATE_TOKEN_FILE")}).client()
	if err != nil {
		return err
	}
	defer cl.Close()
	open := func(d wire.Digest) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(contents[d])), nil }
	_, index, err := pack.Write(context.Background(), pack.Source{Payload: payload, Signatures: sigs, Open: open}, cl.PutBlob)
	if err == nil {
		_, err = cl.Publish(context.Background(), index)
	}
	return err
}
