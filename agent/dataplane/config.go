package dataplane

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Kind names a driver.
type Kind string

// The drivers.
const (
	KindBuiltin Kind = "builtin" // a file server inside the agent
	KindFiles   Kind = "files"   // software that reads the release directory by itself
	KindNginx   Kind = "nginx"
)

// Config describes the data plane of one app on one node. The fields with a YAML name
// come from the node's own configuration file, the others from the agent.
type Config struct {
	App     wire.App     `yaml:"-"`
	Region  wire.Region  `yaml:"-"`
	Dir     string       `yaml:"-"` // the driver's own state; made if absent; absolute
	Current string       `yaml:"-"` // the app's `current` link, which the agent switches; absolute
	Logger  *slog.Logger `yaml:"-"` // default: discard
	// Open makes a driver of the embedder's own. Kind, and what only some kinds use, mean
	// nothing then. Default: the driver of Kind.
	Open func(Config) (Driver, error) `yaml:"-"`

	Kind Kind `yaml:"kind"`
	// Listen is the address the data plane listens on, host:port. Required by builtin and
	// nginx. Only builtin understands port 0; its Traits then say which port it became.
	Listen string `yaml:"listen"`
	// URL is where Confirm and Check find the data plane, http://host:port. Default: Listen
	// over http, and for files: nowhere.
	URL string `yaml:"url"`
	// Timeout bounds one run of a server's own command, and a Confirm whose context has no
	// deadline. Default 30s.
	Timeout wire.Duration `yaml:"timeout"`
	// Limits are what the software on this node can bear, whatever a bundle says of itself:
	// a release beyond them is refused before its content is fetched. Default: none.
	Limits wire.Limits `yaml:"limits"`
	// Hooks are the commands a bundle may name.
	Hooks map[string]Hook `yaml:"hooks"` // name → command

	// ConfirmURL, of files, is asked for the header X-Ebbgate-Release, or for all of the
	// identity if its path ends in /.well-known/ebbgate. Default: not asked.
	ConfirmURL string `yaml:"confirm_url"`

	// Binary, of nginx, is the program. Default "nginx" from PATH.
	Binary string `yaml:"binary"`
	// Start, of nginx, makes the driver start and own a master process, which goes on if the
	// agent is killed and ends with Close. Otherwise something else, systemd say, runs it with
	// <Dir>/nginx.conf as its configuration.
	Start bool `yaml:"start"`
	// PIDFile, of nginx, is required without Start. Default <Dir>/nginx.pid.
	PIDFile string `yaml:"pidfile"`
}

// New makes the driver that cfg describes. It starts nothing but the listener of
// builtin, which answers 503 until a release is activated; a server that outlived an
// earlier agent is found again.
func New(cfg Config) (Driver, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	switch {
	case cfg.Open != nil:
		return cfg.Open(cfg)
	case cfg.Kind == KindBuiltin:
		return newBuiltin(cfg)
	case cfg.Kind == KindFiles:
		return newFiles(cfg)
	default:
		return newNginx(cfg)
	}
}

func (c *Config) validate() error {
	fail := func(field, format string, args ...any) error {
		return fmt.Errorf("dataplane of %s: %s: %s", c.App, field, fmt.Sprintf(format, args...))
	}
	if err := wire.CheckToken(string(c.App)); err != nil {
		return fail("app", "%v", err)
	}
	if err := wire.CheckToken(string(c.Region)); err != nil {
		return fail("region", "%v", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Timeout == 0 {
		c.Timeout = wire.Duration(30 * time.Second)
	}
	if err := checkDir(c.Dir); err != nil {
		return fail("dir", "%v", err)
	}
	if err := c.Limits.Check("dataplane of " + string(c.App)); err != nil {
		return err
	}
	for _, name := range wire.Keys(c.Hooks) {
		if err := wire.CheckToken(name); err != nil {
			return fail("hooks", "%v", err)
		}
		if err := c.Hooks[name].validate(); err != nil {
			return fail("hooks."+name, "%v", err)
		}
	}
	for _, u := range []struct{ field, value string }{{"url", c.URL}, {"confirm_url", c.ConfirmURL}} {
		if u.value == "" {
			continue
		}
		if p, err := url.Parse(u.value); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			return fail(u.field, "%q is not an http or https URL", u.value)
		}
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Open != nil {
		return nil
	}
	switch c.Kind {
	case KindBuiltin, KindNginx:
		_, port, err := net.SplitHostPort(c.Listen)
		if err != nil || c.Kind == KindNginx && port == "0" || !safe(c.Listen) {
			return fail("listen", "%q is not host:port", c.Listen)
		}
	case KindFiles:
		if err := checkDir(c.Current); err != nil {
			return fail("current", "%v", err)
		}
	default:
		return fail("kind", "%q is unknown, want builtin, files or nginx", c.Kind)
	}
	if c.Kind != KindNginx {
		return nil
	}
	if c.Binary == "" {
		c.Binary = "nginx"
	}
	if c.PIDFile == "" {
		if !c.Start {
			return fail("pidfile", "is missing: without start: true it says which nginx to reload")
		}
		c.PIDFile = filepath.Join(c.Dir, "nginx.pid")
	}
	if err := checkDir(c.PIDFile); err != nil {
		return fail("pidfile", "%v", err)
	}
	return nil
}

// checkDir refuses a path that would need quoting in the configuration of a server.
func checkDir(path string) error {
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("%q is not an absolute path", path)
	case filepath.Clean(path) != path:
		return fmt.Errorf("%q is not a clean path", path)
	case !safe(path):
		return fmt.Errorf("%q holds characters other than letters, digits and ._-+:@/=,~", path)
	}
	return nil
}

func safe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-+:@/[]=,~", r)
	})
}

// baseURL returns where a server that listens on addr is reached from this node.
func baseURL(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || host == "*" || ip != nil && ip.Equal(net.IPv4zero) {
		host = "127.0.0.1"
	} else if ip != nil && ip.IsUnspecified() {
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
