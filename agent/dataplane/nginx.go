package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/agent/tags"
	"github.com/ebbgate/ebbgate/wire"
)

// reloading holds one token: a reload doubles a server's processes for a while, and a
// node has room for one such at a time.
var reloading = make(chan struct{}, 1)

const (
	maxErrorLog = 4 << 20         // of the driver's error log; beyond, the next activation empties it
	refusedWait = 2 * time.Second // after the log says why a reload failed, how long the old release may still answer
)

// nginx drives a real nginx. Its main configuration is a file of the driver's, rendered
// from the bundle's with every path pinned to the release.
type nginx struct {
	cfg      Config
	url      string
	binary   string // absolute
	version  wire.Version
	children sync.WaitGroup // masters this process has started

	mu     sync.Mutex // one Activate or Close at a time: they share nginx.conf and the master
	closed bool
	child  int             // the newest master this process has started, or 0
	ended  <-chan struct{} // closed when it has ended

	since   sync.Mutex // guards offset
	offset  int64      // end of the error log before the last reload
	refused time.Time  // when Confirm first found a refusal behind offset; zero: it has not
}

var nginxVersion = regexp.MustCompile(`nginx version: [^/]*/([0-9.]+)`)

func newNginx(cfg Config) (*nginx, error) {
	n := &nginx{cfg: cfg, url: cfg.URL}
	if n.url == "" {
		n.url = baseURL(cfg.Listen)
	}
	fail := func(err error) (*nginx, error) {
		return nil, fmt.Errorf("dataplane of %s: %w", cfg.App, err)
	}
	var err error
	if n.binary, err = findBinary(cfg.Binary); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return fail(err)
	}
	n.cfg.sweep(func(name string) bool {
		return strings.HasPrefix(name, ".candidate-") || strings.HasPrefix(name, tmpPrefix) || strings.HasPrefix(name, ".start-")
	})
	out, err := command{argv: []string{n.binary, "-v"}, timeout: cfg.Timeout.Std()}.run(context.Background())
	if err != nil {
		return fail(fmt.Errorf("%s -v: %w", n.binary, err))
	}
	if m := nginxVersion.FindStringSubmatch(out); m != nil {
		n.version = wire.Version(m[1])
	}
	if err := n.version.Check(); err != nil {
		return fail(fmt.Errorf("%s -v answered %.100q: the version %w", n.binary, out, err))
	}
	if _, err := os.Stat(n.conf()); errors.Is(err, os.ErrNotExist) && !cfg.Start {
		// Whoever runs nginx can start it before there is a release.
		boot := fmt.Sprintf("# No release is active yet.\npid %s;\nerror_log %s crit;\nevents {}\n", cfg.PIDFile, n.log())
		if err := writeFile(n.conf(), []byte(boot)); err != nil {
			return fail(err)
		}
	}
	if pid, err := n.master(); err == nil {
		cfg.Logger.Info("found nginx running", "app", cfg.App, "pid", pid)
	}
	return n, nil
}

// findBinary also looks where the PATH of a service often does not lead.
func findBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil && !strings.Contains(name, "/") {
		if path, err2 := exec.LookPath("/usr/sbin/" + name); err2 == nil {
			return path, nil
		}
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

func (n *nginx) conf() string { return filepath.Join(n.cfg.Dir, "nginx.conf") }
func (n *nginx) log() string  { return filepath.Join(n.cfg.Dir, "error.log") }

// dropFree reports whether this nginx can keep idle connections through a reload.
func (n *nginx) dropFree() bool { return n.version.Compare("1.27.4") >= 0 }

// args are the arguments of every run: without -e, nginx first opens the error log it
// was built with.
func (n *nginx) args(conf, log string) []string {
	if n.version.Compare("1.19.5") < 0 {
		return []string{"-c", conf}
	}
	return []string{"-e", log, "-c", conf}
}

func (n *nginx) Traits() Traits {
	return Traits{Name: string(KindNginx), Version: string(n.version), DropFree: n.dropFree(), URL: n.url}
}

// Validate renders the release into a directory of its own and asks nginx -t.
func (n *nginx) Validate(ctx context.Context, r Release) error {
	if err := n.cfg.checkHooks(r); err != nil {
		return err
	}
	// No lock: a revert must not wait for the validation of something else.
	dir, err := os.MkdirTemp(n.cfg.Dir, ".candidate-")
	if err != nil {
		return release.Full(err)
	}
	defer os.RemoveAll(dir)
	// A log of its own: what is wrong with a candidate is no word on a reload.
	log := filepath.Join(dir, "error.log")
	conf, err := n.prepare(r, dir, log)
	if err != nil {
		return err
	}
	candidate := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(candidate, conf, 0o644); err != nil {
		return release.Full(err)
	}
	out, err := command{argv: append([]string{n.binary, "-t", "-q"}, n.args(candidate, log)...), timeout: n.cfg.Timeout.Std()}.run(ctx)
	if err == nil {
		return nil
	}
	if why := refusal(out); why != "" {
		err = errors.New(strings.ReplaceAll(why, candidate, NginxTemplate))
	}
	return fmt.Errorf("nginx -t: %w", err)
}

// refusal picks the lines that say why out of nginx's output.
func refusal(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if _, text, found := strings.Cut(strings.TrimSpace(line), "[emerg] "); found {
			lines = append(lines, text)
		}
	}
	return lastLines(strings.Join(lines, "\n"), 3)
}

// prepare writes the snippets of r into dir and returns the main configuration.
func (n *nginx) prepare(r Release, dir, log string) ([]byte, error) {
	template, err := readCapped(filepath.Join(r.Dir, NginxTemplate), maxTemplate)
	if err != nil {
		return nil, err
	}
	out, err := n.render(template, r, dir, log)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, snippetFile), out.snippet); err != nil {
		return nil, err
	}
	return out.conf, writeFile(filepath.Join(dir, headersFile), out.headers)
}

func (n *nginx) Arm(context.Context, Release) error { return nil }

// Activate replaces the configuration durably, then reloads: a master that starts
// anew after a power cut reads the release that was last activated. It does not wait
// for the workers; Confirm does.
func (n *nginx) Activate(ctx context.Context, r Release) error {
	if err := n.cfg.checkHooks(r); err != nil {
		return err
	}
	if err := n.activate(ctx, r); err != nil {
		return err
	}
	return n.cfg.runHooks(ctx, r)
}

func (n *nginx) activate(ctx context.Context, r Release) error {
	ctx, cancel := withDeadline(ctx, n.cfg.Timeout.Std())
	defer cancel()
	select {
	case reloading <- struct{}{}:
		defer func() { <-reloading }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for another reload on this node: %w", ctx.Err())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errClosed
	}
	pid, err := n.master()
	if err != nil && (!n.cfg.Start || !errors.Is(err, errNotRunning)) {
		return err
	}
	// The snippets have names of their own per release: the old configuration must stay
	// whole until the rename.
	live := "live-" + r.Epoch.String() + "-" + r.Digest.Short()
	dir := filepath.Join(n.cfg.Dir, live)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return release.Full(err)
	}
	conf, err := n.prepare(r, dir, n.log())
	if err != nil {
		return err
	}
	// The name of the snippets' directory before the file that needs it.
	if err := syncDir(n.cfg.Dir); err != nil {
		return err
	}
	n.markLog()
	if err := writeFile(n.conf(), conf); err != nil {
		return err
	}
	// A running master has read its snippets and does not need the files.
	n.cfg.sweep(func(name string) bool { return strings.HasPrefix(name, "live-") && name != live })
	if pid == 0 {
		return n.start(ctx)
	}
	out, err := command{argv: append([]string{n.binary, "-s", "reload"}, n.args(n.conf(), n.log())...), timeout: n.cfg.Timeout.Std()}.run(ctx)
	if err != nil {
		if why := refusal(out); why != "" {
			err = errors.New(why)
		}
		return fmt.Errorf("nginx -s reload: %w", err)
	}
	return nil
}

// markLog remembers where the error log ends, and empties one that has grown too long.
func (n *nginx) markLog() {
	n.since.Lock()
	defer n.since.Unlock()
	if n.offset = n.logEnd(); n.offset > maxErrorLog {
		if err := os.Truncate(n.log(), 0); err == nil {
			n.offset = 0
		}
	}
	n.refused = time.Time{}
}

func (n *nginx) Confirm(ctx context.Context, r Release) (string, error) {
	ctx, cancel := withDeadline(ctx, n.cfg.Timeout.Std())
	defer cancel()
	evidence, err := readback{n.url + tags.IdentityPath, identityShows, n.refusedReload}.confirm(ctx, r)
	if err != nil {
		n.since.Lock()
		offset := n.offset
		n.since.Unlock()
		if why := n.logSince(offset); why != "" && !strings.Contains(err.Error(), why) {
			err = fmt.Errorf("%w; nginx logged: %s", err, why)
		}
		return "", err
	}
	if pid, err := n.master(); err == nil {
		evidence += ", master " + strconv.Itoa(pid)
	}
	return evidence, nil
}

// refusedReload gives up on a release that nginx has logged to have refused. It
// retries to bind for half a second, so the first line is not the end.
func (n *nginx) refusedReload() error {
	n.since.Lock()
	defer n.since.Unlock()
	why := n.logSince(n.offset)
	if why == "" {
		return nil
	}
	if n.refused.IsZero() {
		n.refused = time.Now()
	}
	if time.Since(n.refused) < refusedWait {
		return nil
	}
	return fmt.Errorf("the reload was refused: %s", why)
}

func (n *nginx) Check(ctx context.Context, r Release) error { return check(ctx, n.url, r) }

func (n *nginx) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	if !n.cfg.Start {
		return nil
	}
	var err error
	if pid, running := n.master(); running == nil {
		err = n.stop(pid)
	}
	if err == nil {
		n.children.Wait()
	}
	return err
}
