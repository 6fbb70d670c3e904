package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const masterPoll = 10 * time.Millisecond

// errNotRunning means that no nginx master of ours answers to the pidfile.
var errNotRunning = errors.New("nginx is not running")

// master returns the pid of the running master that the pidfile names. A pidfile may
// be left over and its number taken by a stranger, so the process has to call itself
// our nginx.
func (n *nginx) master() (int, error) {
	data, err := readCapped(n.cfg.PIDFile, 64)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: no %s", errNotRunning, n.cfg.PIDFile)
	}
	if err != nil {
		return 0, err
	}
	// nginx -t leaves an empty one.
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%w: %s names no process", errNotRunning, n.cfg.PIDFile)
	}
	if !n.isMaster(pid) {
		return 0, fmt.Errorf("%w: process %d of %s is not the nginx of %s", errNotRunning, pid, n.cfg.PIDFile, n.conf())
	}
	return pid, nil
}

// isMaster reads the process title that nginx writes over its arguments. A zombie has
// none.
func (n *nginx) isMaster(pid int) bool {
	title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	text := strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")
	if !strings.HasPrefix(text, "nginx: master process") {
		return false
	}
	// Whatever runs nginx for us may lead to our file by an include or a link.
	return !n.cfg.Start || strings.Contains(text+" ", " -c "+n.conf()+" ")
}

// start runs a master that outlives this process if that is killed, and returns when
// its pidfile says that it has bound its sockets.
func (n *nginx) start(ctx context.Context) error {
	cmd := exec.Command(n.binary, append(n.args(n.conf(), n.log()), "-g", "daemon off;")...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// A file and not a pipe: a pipe would end with the agent.
	out, err := os.CreateTemp(n.cfg.Dir, ".start-*")
	if err != nil {
		return err
	}
	defer out.Close()
	os.Remove(out.Name())
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", n.binary, err)
	}
	var exit error // once it has ended
	ended := make(chan struct{})
	n.child, n.ended = cmd.Process.Pid, ended
	n.children.Go(func() {
		exit = cmd.Wait()
		close(ended)
		n.cfg.Logger.Info("nginx master ended", "app", n.cfg.App, "pid", cmd.Process.Pid, "err", exit)
	})
	for {
		if pid, err := n.master(); err == nil && pid == cmd.Process.Pid {
			return nil
		}
		select {
		case <-ended:
			text := make([]byte, 16<<10)
			count, _ := out.ReadAt(text, 0)
			return fmt.Errorf("nginx did not start: %v: %s", exit, lastLines(string(text[:count]), 3))
		case <-ctx.Done():
			// It may not have its title yet, so stop would not know it; it is our child, so
			// its number cannot be a stranger's.
			_ = kill(cmd.Process.Pid)
			<-ended
			return fmt.Errorf("nginx did not start: %w", ctx.Err())
		case <-time.After(masterPoll):
		}
	}
}

// stop ends a master: first so that it finishes its requests, then not so.
func (n *nginx) stop(pid int) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGQUIT, closeTimeout}, {syscall.SIGTERM, 2 * time.Second}, {syscall.SIGKILL, time.Second}} {
		if !n.isMaster(pid) {
			return nil
		}
		var err error
		if step.signal == syscall.SIGKILL {
			err = kill(pid)
		} else {
			err = syscall.Kill(pid, step.signal)
		}
		if errors.Is(err, syscall.ESRCH) || n.gone(pid, step.wait) {
			return nil
		}
	}
	return fmt.Errorf("nginx master %d does not end", pid)
}

// gone waits until a master has ended, and reports whether it has.
func (n *nginx) gone(pid int, within time.Duration) bool {
	if pid == n.child {
		select {
		case <-n.ended:
			return true
		case <-time.After(within):
			return false
		}
	}
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(masterPoll) {
		if !n.isMaster(pid) {
			return true
		}
	}
	return false
}

// kill ends a master and its workers, which would hold the port: all that start has run
// leads a process group.
func kill(pid int) error {
	if group, err := syscall.Getpgid(pid); err == nil && group == pid {
		return syscall.Kill(-pid, syscall.SIGKILL)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// logEnd returns where the error log ends now.
func (n *nginx) logEnd() int64 {
	info, err := os.Stat(n.log())
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns what the error log says of refusals since offset, at most three lines.
func (n *nginx) logSince(offset int64) string {
	f, err := os.Open(n.log())
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, offset, maxOutput))
	if err != nil {
		return ""
	}
	var lines []string
	seen := make(map[string]bool)
	for line := range strings.Lines(string(data)) {
		// "2026/11/23 21:00:00 [emerg] 17#17: bind() to …"
		_, text, found := strings.Cut(strings.TrimSpace(line), "[emerg] ")
		if _, after, cut := strings.Cut(text, ": "); found && cut && !seen[after] {
			seen[after] = true
			lines = append(lines, after)
		}
	}
	return lastLines(strings.Join(lines, "\n"), 3)
}
