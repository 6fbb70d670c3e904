package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ebbgate/ebbgate/internal/ports"
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
	// Targets makes the agents of a region provider agents: region → the targets section of
	// their configuration, instead of Apps.
	Targets map[wire.Region]string
	// NATS, if set, is the nats section of controller.yaml, for servers that are not
	// embedded; Keys is then the directory of their keys.
	NATS string
	// Standby, if set, is the nats section of a second controller, which has the keys of the
	// first and a state of its own.
	Standby string
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
	cfg         Config
	Controllers []*Controller // the first, and the standby if there is one
	agents      map[wire.AgentID]*process
	StandIns    *StandIns
	Nodes       []Node      // by region and number
	front       *Controller // takes the commands
	release     func()      // gives its ports back
}

// Node is one agent and where its data planes answer.
type Node struct {
	Region wire.Region
	ID     wire.AgentID
	URL    map[wire.App]string
}

// Start brings a fleet up and waits until every agent reports; the first controller
// leads. What it has started is stopped again when it fails.
func Start(ctx context.Context, cfg Config) (_ *Lab, err error) {
	if cfg.Lost == 0 {
		cfg.Lost = 3 * time.Second
	}
	l := &Lab{cfg: cfg, agents: make(map[wire.AgentID]*process), release: func() {}}
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
	if err := l.WaitLive(ctx, len(l.Nodes)); err != nil {
		return l, err
	}
	for _, c := range l.Controllers[1:] {
		if err := c.Start(); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.cfg.Dir}, elem...)...)
}

// Dir returns where the fleet keeps everything.
func (l *Lab) Dir() string { return l.cfg.Dir }

// initController makes the controllers' directory as an operator does, and then writes
// the configurations of this lab over the one made to begin with.
func (l *Lab) initController(ctx context.Context) error {
	free, release, err := ports.Take(3 + len(l.cfg.Regions)*l.cfg.Agents*(1+len(l.cfg.Apps)))
	if err != nil {
		return err
	}
	l.release = release
	nats := l.cfg.NATS
	if nats == "" {
		nats = fmt.Sprintf("listen: 127.0.0.1:%d", free[0])
	}
	l.addController("controller", "state", free[1], nats)
	l.front = l.Controllers[0]
	if l.cfg.Standby != "" {
		l.addController("standby", "standby", free[2], l.cfg.Standby)
	}
	free = free[3:]
	args := []string{"controller", "init", l.path("controller"), "--fleet", "lab", "-q"}
	for _, r := range l.cfg.Regions {
		args = append(args, "--region", string(r))
	}
	if _, err := l.Run(ctx, args...); err != nil {
		return err
	}
	var b strings.Builder
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
	for _, c := range l.Controllers {
		text := fmt.Sprintf("listen: %s\nstate: %s\nlost: %s\nnats:\n%s%s", c.api, c.State, l.cfg.Lost, indent(2, c.nats), b.String())
		if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
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
	fmt.Fprintf(&b, "heartbeat: 1s\nprobe: 500ms\nnats:\n  reconnect: 200ms\ngossip:\n  bind: 127.0.0.1:%d\n", free[0])
	apps := l.cfg.Apps
	if targets := l.cfg.Targets[n.Region]; targets != "" {
		b.WriteString("targets:\n" + indent(2, targets))
		apps = nil
	} else {
		b.WriteString("apps:\n")
	}
	for i, app := range apps {
		addr := fmt.Sprintf("127.0.0.1:%d", free[1+i])
		n.URL[app.Name] = "http://" + addr
		fmt.Fprintf(&b, "  %s:\n%s", app.Name, indent(4, app.Plane(n.Region, addr)))
	}
	if err := os.MkdirAll(l.path("agents"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.path("agents", string(n.ID)+".local"), []byte(b.String()), 0o600)
}

// StartAgent starts an agent that does not run.
func (l *Lab) StartAgent(id wire.AgentID) error {
	p := l.agents[id]
	if p == nil {
		p = &process{
			name: "agent " + string(id), path: l.cfg.Agent, log: l.path("logs", string(id)+".log"), env: l.cfg.AgentEnv,
			args: []string{"run", "-c", l.path("agents", string(id), "agent.yaml")},
		}
		if l.cfg.Targets[l.region(id)] != "" {
			p.path, p.args = l.cfg.Ebbgate, append([]string{"provider-agent"}, p.args...)
		}
		l.agents[id] = p
	}
	if p.exited() {
		p.stop(syscall.SIGKILL)
	}
	return p.start()
}

func (l *Lab) region(id wire.AgentID) wire.Region {
	for _, n := range l.Nodes {
		if n.ID == id {
			return n.Region
		}
	}
	return ""
}

// KillAgent kills an agent without warning.
func (l *Lab) KillAgent(id wire.AgentID) { l.agents[id].stop(syscall.SIGKILL) }

// AgentExited reports whether an agent has ended by itself.
func (l *Lab) AgentExited(id wire.AgentID) bool { return l.agents[id].exited() }

// Env returns what an operator's shell needs to use this fleet.
func (l *Lab) Env() []string {
	return []string{"EBBGATE_SERVER=" + l.front.URL(), "EBBGATE_TOKEN_FILE=" + l.path("controller", "admin.token")}
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

// Close stops the fleet: agents first, so that they can say goodbye. It is idempotent.
func (l *Lab) Close() {
	for _, id := range wire.Keys(l.agents) {
		l.agents[id].stop(syscall.SIGTERM)
	}
	for _, c := range l.Controllers {
		c.stop(syscall.SIGTERM)
	}
	if l.StandIns != nil {
		l.StandIns.close()
	}
	l.release()
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
