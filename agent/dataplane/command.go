package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// maxOutput bounds what is kept of a command's output.
const maxOutput = 64 << 10

// command is one bounded run of a program: fixed arguments, no shell, an environment
// of its own, and a process group of its own, so that nothing it started outlives
// its time.
type command struct {
	argv    []string
	dir     string
	env     []string // beside PATH and LC_ALL
	timeout time.Duration
}

// run returns standard output and standard error together. A failure's error ends with
// the output.
func (c command) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A grandchild that keeps the pipe open must not keep us.
	cmd.WaitDelay = time.Second
	var out capped
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.Process != nil {
		// What it left behind in its group ends with it. ESRCH, the usual case, means
		// nothing was left.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	text := strings.TrimSpace(out.kept.String())
	switch {
	case err == nil:
		return text, nil
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("killed after %s: %w", c.timeout, ctx.Err())
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay):
		err = errors.New("it ended and left processes behind, which were killed")
	}
	if text == "" {
		return "", err
	}
	return text, fmt.Errorf("%w: %s", err, lastLines(text, 3))
}

// capped keeps the first maxOutput bytes and drops the rest. The buffer is not embedded:
// its ReadFrom would take everything.
type capped struct{ kept bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.kept.Write(p[:min(len(p), maxOutput-c.kept.Len())])
	return len(p), nil
}

// lastLines joins the last n lines of text with "; ".
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
