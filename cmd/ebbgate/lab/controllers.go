package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"syscall"
)

// Controller is a controller of a lab, which need not run.
type Controller struct {
	*process
	State  string // directory of what it keeps: its database
	config string // path of its configuration
	nats   string // section of it
	api    string // host:port
}

func (l *Lab) addController(name, state string, port int, nats string) {
	c := &Controller{
		State: l.path("controller", state), config: l.path("controller", name+".yaml"),
		nats: nats, api: fmt.Sprintf("127.0.0.1:%d", port),
	}
	c.process = &process{
		name: "the " + name, path: l.cfg.Ebbgate, log: l.path("logs", name+".log"), env: l.cfg.Env,
		args: []string{"controller", "-c", c.config},
	}
	l.Controllers = append(l.Controllers, c)
}

// Start starts a controller that does not run, and does not wait.
func (c *Controller) Start() error {
	if c.Exited() {
		c.Kill()
	}
	return c.start()
}

// Program says what the controller runs from its next start on, in place of the lab's ebbgate.
func (c *Controller) Program(path string) { c.path = path }

// Kill kills the controller without warning.
func (c *Controller) Kill() { c.stop(syscall.SIGKILL) }

// Pause stops the controller where it is, and Wake lets it go on: it cannot tell how
// long it was away.
func (c *Controller) Pause() error { return c.signal(syscall.SIGSTOP) }

// Wake undoes Pause.
func (c *Controller) Wake() error { return c.signal(syscall.SIGCONT) }

// Exited reports whether the controller has ended by itself.
func (c *Controller) Exited() bool { return c.exited() }

// Said returns all that the controller has logged.
func (c *Controller) Said() (string, error) {
	text, err := os.ReadFile(c.log)
	return string(text), err
}

// URL is where the controller's API answers.
func (c *Controller) URL() string { return "http://" + c.api }

// Leads reports whether the controller answers and leads.
func (c *Controller) Leads(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Turn waits until the controller leads and has it take the commands from now on.
func (l *Lab) Turn(ctx context.Context, c *Controller) error {
	err := l.until(ctx, c.name+" to lead", func() (bool, error) {
		if c.Exited() {
			return false, fmt.Errorf("%s has ended: %s", c.name, c.lastLine())
		}
		return c.Leads(ctx), nil
	})
	if err == nil {
		l.front = c
	}
	return err
}

// StartController starts the first controller and waits until it leads.
func (l *Lab) StartController(ctx context.Context) error {
	if err := l.Controllers[0].Start(); err != nil {
		return err
	}
	return l.Turn(ctx, l.Controllers[0])
}

// KillController kills the first controller without warning; an embedded NATS goes with it.
func (l *Lab) KillController() { l.Controllers[0].Kill() }
