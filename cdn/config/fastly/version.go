package fastly

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// note is the comment of a version that was made here. A clone has the comment of its
// source, so the number tells whether it is the version's own.
type note struct {
	release string
	number  int
	from    int // version it was cloned from, which served then
}

var notePattern = regexp.MustCompile(`^ebbgate ([^ ]*): (0|[1-9][0-9]*) from (0|[1-9][0-9]*)$`)

func (n note) String() string {
	return fmt.Sprintf("ebbgate %s: %d from %d", n.release, n.number, n.from)
}

// noteOf returns the note of a version, if it has one of its own.
func noteOf(v *api.Version) (note, bool) {
	m := notePattern.FindStringSubmatch(api.ToValue(v.Comment))
	if m == nil {
		return note{}, false
	}
	number, err := strconv.Atoi(m[2])
	from, err2 := strconv.Atoi(m[3])
	return note{m[1], number, from}, errors.Join(err, err2) == nil && number == api.ToValue(v.Number)
}

func (s *Service) versions(ctx context.Context, op string) (map[int]*api.Version, error) {
	all := map[int]*api.Version{}
	err := s.call(ctx, op, func(ctx context.Context) error {
		versions, err := s.ListVersions(ctx, &api.ListVersionsInput{ServiceID: s.service})
		for _, v := range versions {
			all[api.ToValue(v.Number)] = v
		}
		return err
	})
	return all, err
}

// active returns the number of the version that serves, 0 for none.
func active(versions map[int]*api.Version) int {
	for number, v := range versions {
		if api.ToValue(v.Active) {
			return number
		}
	}
	return 0
}

// mostSteps bounds how far back a version that served before is looked for.
const mostSteps = 8

// Stage finds the version to activate, or makes it: one that served before, if between
// it and now there is nothing but releases; a draft made of the version that serves;
// a new clone.
func (s *Service) Stage(ctx context.Context, want config.State, _ config.Content) (config.State, error) {
	versions, err := s.versions(ctx, "stage")
	if err != nil {
		return want, err
	}
	serving := active(versions)
	if serving == 0 {
		return want, s.refused("stage", "no version is active: there is nothing to make one from")
	}
	var mains []string
	for _, key := range slices.Sorted(maps.Keys(want.Items)) {
		if strings.HasPrefix(key, vclDir+"/") && strings.HasPrefix(want.Items[key], vclValue(true, "")) {
			mains = append(mains, key)
		}
	}
	if len(mains) > 1 {
		return want, s.refused("stage", fmt.Sprintf("%s are both main VCL files: without keep the release's would be the only one", strings.Join(mains, " and ")))
	}
	at := serving
	for range mostSteps {
		n, ours := noteOf(versions[at])
		if !ours || versions[n.from] == nil {
			break
		}
		at = n.from
		held, err := s.read(ctx, "stage", at)
		if err != nil {
			return want, err
		}
		if held.Release == want.Release && maps.Equal(held.Items, want.Items) {
			want.Version = held.Version
			return want, nil
		}
	}
	return s.draft(ctx, want, versions)
}

// draft finds or makes the version of a release that is a clone of the active one.
func (s *Service) draft(ctx context.Context, want config.State, versions map[int]*api.Version) (config.State, error) {
	serving, number := active(versions), 0
	for _, v := range slices.Backward(slices.Sorted(maps.Keys(versions))) {
		n, ours := noteOf(versions[v])
		if !ours || n.from != serving || n.release != want.Release || v == serving {
			continue
		}
		held, err := s.read(ctx, "stage", v)
		if err != nil {
			return want, err
		}
		if maps.Equal(held.Items, want.Items) && held.Release == want.Release && api.ToValue(versions[v].Locked) {
			want.Version = held.Version // served before, in between it was gone back from
			return want, nil
		}
		if !api.ToValue(versions[v].Locked) {
			number = v
			break
		}
	}
	if number == 0 {
		var err error
		if number, err = s.clone(ctx, want.Release, serving); err != nil {
			return want, err
		}
	}
	if err := s.edit(ctx, number, want); err != nil {
		return want, err
	}
	want.Version = strconv.Itoa(number)
	return want, s.validate(ctx, number)
}

// clone makes a version and writes its note at once: a crash before that leaves a draft
// that nobody uses.
func (s *Service) clone(ctx context.Context, release string, from int) (number int, err error) {
	err = s.call(ctx, "stage", func(ctx context.Context) error {
		v, err := s.CloneVersion(ctx, &api.CloneVersionInput{ServiceID: s.service, ServiceVersion: from})
		if err == nil {
			number = api.ToValue(v.Number)
		}
		if err == nil && number == 0 {
			err = errors.New("the answer has no number")
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	comment := note{release, number, from}.String()
	return number, s.call(ctx, "stage", func(ctx context.Context) error {
		_, err := s.UpdateVersion(ctx, &api.UpdateVersionInput{ServiceID: s.service, ServiceVersion: number, Comment: &comment})
		return err
	})
}

// edit makes a draft hold what is wanted, wherever an earlier edit was cut short.
func (s *Service) edit(ctx context.Context, number int, want config.State) error {
	held, err := s.read(ctx, "stage", number)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(held.Items)) {
		if _, wanted := want.Items[key]; wanted {
			continue
		}
		if err := s.remove(ctx, number, key); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Items)) {
		value, there := held.Items[key]
		if there && value == want.Items[key] {
			continue
		}
		if err := s.put(ctx, number, config.Change{Key: key, Value: want.Items[key]}, there); err != nil {
			return err
		}
	}
	mark := snippetDir + "/" + config.Mark
	switch {
	case held.Release == want.Release:
		return nil
	case want.Release == "":
		return s.remove(ctx, number, mark)
	}
	return s.put(ctx, number, config.Change{Key: mark, Value: snippetValue(api.SnippetTypeNone, "100", "# "+want.Release)}, held.Release != "")
}

// put creates or updates one VCL file or snippet of a draft.
func (s *Service) put(ctx context.Context, number int, c config.Change, there bool) error {
	dir, name, _ := strings.Cut(c.Key, "/")
	kind, content, _ := strings.Cut(c.Value, "\n")
	return s.call(ctx, "stage", func(ctx context.Context) (err error) {
		switch {
		case dir == vclDir && there:
			_, err = s.UpdateVCL(ctx, &api.UpdateVCLInput{ServiceID: s.service, ServiceVersion: number, Name: name, Content: &content})
		case dir == vclDir:
			_, err = s.CreateVCL(ctx, &api.CreateVCLInput{ServiceID: s.service, ServiceVersion: number, Name: &name, Content: &content})
		default:
			t, priority, _ := strings.Cut(kind, " ")
			snippet := api.SnippetType(t)
			if there {
				_, err = s.UpdateSnippet(ctx, &api.UpdateSnippetInput{ServiceID: s.service, ServiceVersion: number, Name: name, Content: &content, Type: &snippet, Priority: &priority})
			} else {
				_, err = s.CreateSnippet(ctx, &api.CreateSnippetInput{ServiceID: s.service, ServiceVersion: number, Name: &name, Content: &content, Type: &snippet, Priority: &priority, Dynamic: api.ToPointer(0)})
			}
		}
		if err == nil && dir == vclDir && kind == "main" {
			_, err = s.ActivateVCL(ctx, &api.ActivateVCLInput{ServiceID: s.service, ServiceVersion: number, Name: name})
		}
		return err
	})
}

func (s *Service) remove(ctx context.Context, number int, key string) error {
	dir, name, _ := strings.Cut(key, "/")
	return s.call(ctx, "stage", func(ctx context.Context) error {
		if dir == vclDir {
			return s.DeleteVCL(ctx, &api.DeleteVCLInput{ServiceID: s.service, ServiceVersion: number, Name: name})
		}
		return s.DeleteSnippet(ctx, &api.DeleteSnippetInput{ServiceID: s.service, ServiceVersion: number, Name: name})
	})
}

// validate asks Fastly whether a draft would work.
func (s *Service) validate(ctx context.Context, number int) error {
	var message string
	ok := false
	err := s.call(ctx, "stage", func(ctx context.Context) (err error) {
		ok, message, err = s.ValidateVersion(ctx, &api.ValidateVersionInput{ServiceID: s.service, ServiceVersion: number})
		return err
	})
	if err == nil && !ok {
		err = s.refused("stage", fmt.Sprintf("Fastly does not take version %d: %s", number, message))
	}
	return err
}
