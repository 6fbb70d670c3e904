package dataplane

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ebbgate/ebbgate/agent/tags"
)

// NginxTemplate is the file of a bundle that becomes nginx's main configuration.
const NginxTemplate = "nginx.conf"

const maxTemplate = 4 << 20

var (
	// The main context's own directives, wherever they stand: nginx knows none of these
	// names elsewhere.
	pidDirective    = regexp.MustCompile(`^\s*pid\s+([^;]*);`)
	masterDirective = regexp.MustCompile(`^\s*(daemon|master_process)\s`)
)

// rendered is a release's nginx configuration with every path pinned.
type rendered struct {
	conf    []byte // the main configuration
	snippet []byte // @ebbgate@
	headers []byte // @headers@
}

// names of the files beside each other in a directory of snippets.
const (
	snippetFile = "ebbgate.conf"
	headersFile = "headers.conf"
)

// render fills in a template. dir is where the snippets will be, log the error log.
func (n *nginx) render(template []byte, r Release, dir, log string) (*rendered, error) {
	values, err := r.placeholders()
	if err != nil {
		return nil, err
	}
	values["@listen@"] = n.cfg.Listen
	values["@state@"] = n.cfg.Dir
	values["@ebbgate@"] = filepath.Join(dir, snippetFile)
	values["@headers@"] = filepath.Join(dir, headersFile)
	if !strings.Contains(string(template), "@ebbgate@") {
		return nil, fmt.Errorf("%s: no server block has `include @ebbgate@;`, so nothing would show which release serves", NginxTemplate)
	}
	var out strings.Builder
	pid := false
	for i, text := range strings.Split(string(template), "\n") {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %w", NginxTemplate, i+1, fmt.Errorf(format, args...))
		}
		if text, err = fill(text, values); err != nil {
			return nil, fail("%w", err)
		}
		code, _, _ := strings.Cut(text, "#")
		switch {
		case n.cfg.Current != "" && strings.Contains(code, n.cfg.Current):
			return nil, fail("%s changes under the running server, use @release@", n.cfg.Current)
		case masterDirective.MatchString(code):
			return nil, fail("%s is the node's to decide", strings.Fields(code)[0])
		}
		if m := pidDirective.FindStringSubmatch(code); m != nil {
			if pid = true; strings.TrimSpace(m[1]) != n.cfg.PIDFile {
				return nil, fail("pid is %s, this node's is %s; leave it out", strings.TrimSpace(m[1]), n.cfg.PIDFile)
			}
		}
		out.WriteString(text + "\n")
	}
	// At the end, so that nginx's line numbers are those of the bundle's file.
	fmt.Fprintf(&out, "# %s, release %s: written by ebbgate-agent, changes are lost.\n", r.App, r.ID())
	if !pid {
		fmt.Fprintf(&out, "pid %s;\n", n.cfg.PIDFile)
	}
	fmt.Fprintf(&out, "error_log %s crit;\n", log)
	return &rendered{[]byte(out.String()), n.snippet(r, dir), headers(r)}, nil
}

// headers are for the inside of a location that has an add_header of its own: nginx
// then forgets those of the server around it.
func headers(r Release) []byte {
	var b strings.Builder
	i := r.Identity()
	for _, h := range [][2]string{
		{tags.HeaderRelease, i.Release},
		{tags.HeaderGeneration, i.Generation},
		{tags.HeaderKeys, strings.Join(i.Tags(), " ")},
		{tags.HeaderCacheTag, strings.Join(i.Tags(), ",")},
	} {
		fmt.Fprintf(&b, "add_header %s \"%s\" always;\n", h[0], h[1])
	}
	return []byte(b.String())
}

func (n *nginx) snippet(r Release, dir string) []byte {
	var b strings.Builder
	b.Write(headers(r))
	if n.dropFree() {
		b.WriteString("keepalive_min_timeout 5s;\n")
	}
	fmt.Fprintf(&b, `location = %s {
	access_log off;
	include %s;
	add_header Cache-Control no-store always;
	default_type application/json;
	return 200 '%s';
}
`, tags.IdentityPath, filepath.Join(dir, headersFile), r.Identity().JSON())
	return []byte(b.String())
}
