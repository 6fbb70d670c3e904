package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Config of a lab.
type Config struct {
	Dir     string        // for everything the fleet keeps; made if missing. Required
	Ebbgate string        // path of the ebbgate binary. Required
	Agent   string        // path of the ebbgate-agent binary. Required
	Regions []wire.Region // Required
	Agents  int           // per region. Required
	Apps    []App         // what every agent serves. Required
	// NATS, if set, is the nats section of controller.yaml, for servers that are not
	// embedded; Keys is then the directory of their keys.
	NATS string
	// CDN is the cdn section of a region in controller.yaml; default: the stand-ins.
	CDN func(wire.Region) string
	// Providers is added to the providers section of controller.yaml.
	Providers string
	Lost      time.Duration // default 3 s
	Env       []string      // added to the environment of the controller
	AgentEnv  []string      // and to that of the agents
}

// App is one app of every agent.
type App struct {
	Name wire.App
	// Plane is the data plane's section of agent.yaml for an agent that listens on addr.
	Plane func(region wire.Region, addr string) string
}

// Builtin is the file server in the agent, Nginx a real nginx that the agent starts.
func Builtin(_ wire.Region, addr string) string {
	return "kind: builtin\nlisten: " + addr
}

// Nginx is a real nginx that the agent starts.
func Nginx(_ wire.Region, addr string) string {
	return "kind: nginx\nstart: true\nlisten: " + addr
}

// Lab is a running fleet.
type Lab struct {
	cfg        Config
	controller *process
	agents     map[wire.AgentID]*process
	StandIns   *StandIns
	Nodes      []Node // by region and number
	api        string
}

// Node is one agent and where its data planes answer.
type Node struct {
	Region wire.Region
	ID     wire.AgentID
	URL    map[wire.App]string
}

// Start brings a fleet up and waits until every agent reports. What it has started is
// stopped again when it fails.
func Start(ctx context.Context, cfg Config) (_ *Lab, err error) {
	if cfg.Lost == 0 {
		cfg.Lost = 3 * time.Second
	}
	l := &Lab{cfg: cfg, agents: make(map[wire.AgentID]*process)}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := os.MkdirAll(l.path("logs"), 0o755); err != nil {
		return nil, err
	}
	if l.StandIns, err = startStandIns(); err != nil {
		return nil, err
	}
	if err := l.initController(ctx); err != nil {
		return nil, err
	}
	if err := l.StartController(ctx); err != nil {
		return nil, err
	}
	if err := l.enroll(ctx); err != nil {
		return nil, err
	}
	for _, n := range l.Nodes {
		if err := l.StartAgent(n.ID); err != nil {
			return nil, err
		}
	}
	return l, l.WaitLive(ctx, len(l.Nodes))
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.cfg.Dir}, elem...)...)
}

// Dir returns where the fleet keeps everything.
func (l *Lab) Dir() string { return l.cfg.Dir }

// initController makes the controller's directory as an operator does, and then writes
// the configuration of this lab over the one made to begin with.
func (l *Lab) initController(ctx context.Context) error {
	args := []string{"controller", "init", l.path("controller"), "--fleet", "lab", "-q"}
	for _, r := range l.cfg.Regions {
		args = append(args, "--region", string(r))
	}
	if _, err := l.Run(ctx, args...); err != nil {
		return err
	}
	free, err := ports(2 + len(l.cfg.Regions)*l.cfg.Agents*(1+len(l.cfg.Apps)))
	if err != nil {
		return err
	}
	l.api = fmt.Sprintf("127.0.0.1:%d", free[0])
	nats := l.cfg.NATS
	if nats == "" {
		nats = fmt.Sprintf("listen: 127.0.0.1:%d", free[1])
	}
	free = free[2:]
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %s\nlost: %s\nnats:\n%s", l.api, l.cfg.Lost, indent(2, nats))
	fmt.Fprintf(&b, "gossip:\n  key: gossip.key\n  seeds:\n")
	for _, r := range l.cfg.Regions {
		fmt.Fprintf(&b, "    %s: [127.0.0.1:%d]\n", r, free[0])
		for i := range l.cfg.Agents {
			n := Node{Region: r, ID: wire.AgentID(fmt.Sprintf("%s-%d", r, i+1)), URL: make(map[wire.App]string)}
			if err := l.writeAgent(&n, free[:1+len(l.cfg.Apps)]); err != nil {
				return err
			}
			free = free[1+len(l.cfg.Apps):]
			l.Nodes = append(l.Nodes, n)
		}
	}
	fmt.Fprintf(&b, "providers:\n%s", indent(2, l.StandIns.providers()))
	b.WriteString(indent(2, l.cfg.Providers))
	b.WriteString("regions:\n")
	for _, r := range l.cfg.Regions {
		section := l.StandIns.targets(r)
		if l.cfg.CDN != nil {
			section = l.cfg.CDN(r)
		}
		fmt.Fprintf(&b, "  %s:\n%s", r, indent(4, section))
	}
	if err := l.StandIns.writeTokens(l.path("controller")); err != nil {
		return err
	}
	return os.WriteFile(l.path("controller", "controller.yaml"), []byte(b.String()), 0o600)
}

func indent(n int, text string) string {
	if text == "" {
		return ""
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad) + "\n"
}

// writeAgent keeps the part of an agent's configuration that enrolment does not know.
func (l *Lab) writeAgent(n *Node, free []int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "heartbeat: 1s\nprobe: 500ms\nnats:\n  reconnect: 200ms\ngossip:\n  bind: 127.0.0.1:%d\napps:\n", free[0])
	for i, app := range l.cfg.Apps {
		addr := fmt.Sprintf("127.0.0.1:%d", free[1+i])
		n.URL[app.Name] = "http://" + addr
		fmt.Fprintf(&b, "  %s:\n%s", app.Name, indent(4, app.Plane(n.Region, addr)))
	}
	if err := os.MkdirAll(l.path("agents"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.path("agents", string(n.ID)+".local"), []byte(b.String()), 0o600)
}

// StartController starts the controller and waits until it leads.
func (l *Lab) StartController(ctx context.Context) error {
	if l.controller == nil {
		l.controller = &process{
			name: "the controller", path: l.cfg.Ebbgate, log: l.path("logs", "controller.log"), env: l.cfg.Env,
			args: []string{"controller", "-c", l.path("controller", "controller.yaml")},
		}
	}
	if l.controller.exited() {
		l.controller.stop(syscall.SIGKILL)
	}
	if err := l.controller.start(); err != nil {
		return err
	}
	return l.until(ctx, "the controller to lead", func() (bool, error) {
		if l.controller.exited() {
			return false, fmt.Errorf("the controller has ended: %s", l.lastLine("controller.log"))
		}
		resp, err := http.Get("http://" + l.api + "/readyz")
		if err != nil {
			return false, nil
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
}

// KillController kills the controller without warning; with it goes the embedded NATS.
func (l *Lab) KillController() { l.controller.stop(syscall.SIGKILL) }

// ControllerExited reports whether the controller has ended by itself.
func (l *Lab) ControllerExited() bool { return l.controller.exited() }

// StartAgent starts an agent that does not run.
func (l *Lab) StartAgent(id wire.AgentID) error {
	p := l.agents[id]
	if p == nil {
		p = &process{
			name: "agent " + string(id), path: l.cfg.Agent, log: l.path("logs", string(id)+".log"), env: l.cfg.AgentEnv,
			args: []string{"run", "-c", l.path("agents", string(id), "agent.yaml")},
		}
		l.agents[id] = p
	}
	if p.exited() {
		p.stop(syscall.SIGKILL)
	}
	return p.start()
}

// KillAgent kills an agent without warning.
func (l *Lab) KillAgent(id wire.AgentID) { l.agents[id].stop(syscall.SIGKILL) }

// AgentExited reports whether an agent has ended by itself.
func (l *Lab) AgentExited(id wire.AgentID) bool { return l.agents[id].exited() }

// Env returns what an operator's shell needs to use this fleet.
func (l *Lab) Env() []string {
	return []string{"EBBGATE_SERVER=http://" + l.api, "EBBGATE_TOKEN_FILE=" + l.path("controller", "admin.token")}
}

// Key returns the release author's key.
func (l *Lab) Key() string { return l.path("controller", "author.key") }

// Command is an ebbgate command line against this fleet.
func (l *Lab) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.cfg.Ebbgate, args...)
	cmd.Env = append(os.Environ(), l.Env()...)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Run runs an ebbgate command and returns what it printed.
func (l *Lab) Run(ctx context.Context, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := l.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("ebbgate %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// waitTime bounds every wait for the fleet.
const waitTime = time.Minute

// until waits for a condition of the fleet.
func (l *Lab) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited too long for %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (l *Lab) lastLine(log string) string {
	text, err := os.ReadFile(l.path("logs", log))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// Close stops the fleet: agents first, so that they can say goodbye. It is idempotent.
func (l *Lab) Close() {
	for _, id := range wire.Keys(l.agents) {
		l.agents[id].stop(syscall.SIGTERM)
	}
	if l.controller != nil {
		l.controller.stop(syscall.SIGTERM)
	}
	if l.StandIns != nil {
		l.StandIns.close()
	}
}

// Logs copies the logs of all processes to w, for a test that has failed.
func (l *Lab) Logs(w io.Writer) error {
	files, err := filepath.Glob(l.path("logs", "*.log"))
	slices.Sort(files)
	for _, f := range files {
		text, e := os.ReadFile(f)
		err = errors.Join(err, e)
		fmt.Fprintf(w, "--- %s\n%s", filepath.Base(f), text)
	}
	return err
}
