package fastly

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// What a release wants of a service are files: vcl/<name>.vcl are custom VCL files, of
// which vcl/main.vcl is the main one, and snippets/<name>.<type>[.<priority>].vcl are
// versioned snippets. Backends, domains, dynamic snippets and all else stay as they are
// in the version that serves.
const (
	vclDir     = "vcl"
	snippetDir = "snippets"
)

// Service is the VCL of a versioned service.
//
// A release becomes a version of its own: a clone of the one that serves, edited, and
// validated by Fastly while nothing serves it. Write activates it. What others have
// changed in the version that serves is in the clone too; where they change something
// after that, the clone is made anew.
type Service struct {
	client
	exact
	service string
}

// NewService checks the id; it does not talk to Fastly.
func NewService(a Account, service string) (*Service, error) {
	if err := checkID("service", service); err != nil {
		return nil, err
	}
	c, err := newClient(a, service, "service "+service)
	return &Service{client: c, service: service}, err
}

// Limits: a version is everywhere after 10 to 20 s.
func (s *Service) Limits() config.Limits {
	return config.Limits{Settle: 20 * time.Second, Keeps: true, Stages: true, Immutable: true}
}

var (
	vclPattern     = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,99})\.vcl$`)
	snippetPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,99})\.(init|recv|hash|hit|miss|pass|fetch|error|deliver|log|none)(?:\.([0-9]{1,5}))?\.vcl$`)
)

// Keys of items are "vcl/<name>" and "snippets/<name>"; the first line of a value says
// what kind it is.
func vclValue(main bool, content string) string {
	if main {
		return "main\n" + content
	}
	return "included\n" + content
}

func snippetValue(kind api.SnippetType, priority, content string) string {
	return string(kind) + " " + priority + "\n" + content
}

func (s *Service) Load(files fs.FS) (config.Content, error) {
	c := config.Content{Items: map[string]string{}}
	vcls, err := fs.Glob(files, vclDir+"/*")
	if err != nil {
		return c, err
	}
	for _, p := range vcls {
		m := vclPattern.FindStringSubmatch(path.Base(p))
		if m == nil {
			return c, fmt.Errorf("%s: the name is not <name>.vcl", p)
		}
		data, err := fs.ReadFile(files, p)
		if err != nil {
			return c, err
		}
		c.Items[vclDir+"/"+m[1]] = vclValue(m[1] == "main", string(data))
	}
	if _, ok := c.Items[vclDir+"/main"]; len(vcls) > 0 && !ok {
		return c, fmt.Errorf("%s/main.vcl is missing from the release: with custom VCL there has to be a main file", vclDir)
	}
	snippets, err := fs.Glob(files, snippetDir+"/*")
	if err != nil {
		return c, err
	}
	for _, p := range snippets {
		m := snippetPattern.FindStringSubmatch(path.Base(p))
		switch {
		case m == nil:
			return c, fmt.Errorf("%s: the name is not <name>.<type>[.<priority>].vcl with a type that Fastly knows", p)
		case m[1] == config.Mark:
			return c, fmt.Errorf("%s: the name is kept for the release", p)
		}
		key := snippetDir + "/" + m[1]
		if _, twice := c.Items[key]; twice {
			return c, fmt.Errorf("%s: the snippet %s is there twice", p, m[1])
		}
		data, err := fs.ReadFile(files, p)
		if err != nil {
			return c, err
		}
		priority := "100"
		if m[3] != "" {
			n, err := strconv.Atoi(m[3])
			if err != nil {
				return c, err
			}
			priority = strconv.Itoa(n)
		}
		c.Items[key] = snippetValue(api.SnippetType(m[2]), priority, string(data))
	}
	if len(c.Items) == 0 {
		return c, fmt.Errorf("the release holds neither %s/*.vcl nor %s/*.vcl", vclDir, snippetDir)
	}
	return c, nil
}

// Read returns what the active version holds.
func (s *Service) Read(ctx context.Context, _ []string) (config.State, error) {
	versions, err := s.versions(ctx, "read")
	if err != nil {
		return config.State{}, err
	}
	return s.read(ctx, "read", active(versions))
}

// read returns what a version holds; version 0 is of a service that never served.
func (s *Service) read(ctx context.Context, op string, version int) (config.State, error) {
	held := config.State{Items: map[string]string{}}
	if version == 0 {
		return held, nil
	}
	held.Version = strconv.Itoa(version)
	err := s.call(ctx, op, func(ctx context.Context) error {
		vcls, err := s.ListVCLs(ctx, &api.ListVCLsInput{ServiceID: s.service, ServiceVersion: version})
		for _, v := range vcls {
			held.Items[vclDir+"/"+api.ToValue(v.Name)] = vclValue(api.ToValue(v.Main), api.ToValue(v.Content))
		}
		return err
	})
	if err != nil {
		return held, err
	}
	err = s.call(ctx, op, func(ctx context.Context) error {
		snippets, err := s.ListSnippets(ctx, &api.ListSnippetsInput{ServiceID: s.service, ServiceVersion: version})
		for _, n := range snippets {
			switch name := api.ToValue(n.Name); {
			case api.ToValue(n.Dynamic) != 0: // not versioned, and so not ours
			case name == config.Mark:
				held.Release = strings.TrimPrefix(api.ToValue(n.Content), "# ")
			default:
				held.Items[snippetDir+"/"+name] = snippetValue(api.ToValue(n.Type), api.ToValue(n.Priority), api.ToValue(n.Content))
			}
		}
		return err
	})
	return held, err
}

// Write activates the version that Stage has made or found.
func (s *Service) Write(ctx context.Context, b config.Batch) error {
	version, err := strconv.Atoi(b.Want.Version)
	if err != nil {
		return fmt.Errorf("cannot change %s: no version is staged", s.name)
	}
	return s.call(ctx, "change", func(ctx context.Context) error {
		_, err := s.ActivateVersion(ctx, &api.ActivateVersionInput{ServiceID: s.service, ServiceVersion: version})
		return err
	})
}
