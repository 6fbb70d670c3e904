package cloudflare

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/workers"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// What a release wants of a Worker: worker.js is its main module, modules/** are others,
// named as they are imported from it, and worker.json is the metadata of the upload as
// in the API: compatibility_date, bindings and so on.
const (
	workerMain     = "worker.js"
	workerModules  = "modules"
	workerMetadata = "worker.json"
)

// workerKey is the one item of a Worker. Its value names versions: one of a release by
// its tag, which is made of the content; any other by the split of the deployment.
const workerKey = "versions"

const tagPrefix = "ebbgate-"

// Trial lets a part of the requests reach a new version first.
type Trial struct {
	Percent float64       // 0 to 99; 0 is for the checks alone
	For     time.Duration // how long, up to 10 minutes; 0: there is no trial
}

// mostTrial bounds what an order to go back may have to wait for.
const mostTrial = 10 * time.Minute

// Worker is a script with its deployment. A release becomes a version, uploaded
// without serving, and then all of the deployment.
type Worker struct {
	client
	account, script string
	trial           Trial
	versions        *workers.ScriptVersionService
	deployments     *workers.ScriptDeploymentService
	passed          string // version that came through its trial, if nothing else was written since
}

var scriptPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// NewWorker checks ids and trial; it does not talk to Cloudflare.
func NewWorker(a Account, account, script string, trial Trial) (*Worker, error) {
	if err := checkHex("account", account); err != nil {
		return nil, err
	}
	if !scriptPattern.MatchString(script) {
		return nil, fmt.Errorf("cloudflare target: script: %q is not a name of a Worker", script)
	}
	if trial.Percent < 0 || trial.Percent > 99 || trial.For < 0 || trial.For > mostTrial {
		return nil, fmt.Errorf("cloudflare target: trial: %v%% for %s is not 0 to 99 for up to %s", trial.Percent, trial.For, mostTrial)
	}
	c, err := newClient(a, account, "worker "+script)
	return &Worker{
		client: c, account: account, script: script, trial: trial,
		versions: workers.NewScriptVersionService(c.opts...), deployments: workers.NewScriptDeploymentService(c.opts...),
	}, err
}

// Limits: a deployment is everywhere after a couple of seconds.
func (w *Worker) Limits() config.Limits {
	return config.Limits{Settle: 5 * time.Second, Hold: w.trial.For, Stages: true}
}

func (w *Worker) Same(_, have, want string) bool { return have == want }

func (w *Worker) Load(files fs.FS) (config.Content, error) {
	c := config.Content{Files: map[string][]byte{}}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path != workerMain && !strings.HasPrefix(path, workerModules+"/") {
			return err
		}
		c.Files[path], err = fs.ReadFile(files, path)
		return err
	})
	if err != nil {
		return c, err
	}
	if _, there := c.Files[workerMain]; !there {
		return c, fmt.Errorf("%s is missing from the release", workerMain)
	}
	data, err := fs.ReadFile(files, workerMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("{}"), nil
	}
	if err != nil {
		return c, err
	}
	metadata := map[string]any{}
	if err := json.Unmarshal(data, &metadata); err != nil {
		return c, fmt.Errorf("%s: %w", workerMetadata, err)
	}
	if metadata == nil {
		return c, fmt.Errorf("%s: is not an object", workerMetadata)
	}
	for _, field := range []string{"annotations", "main_module", "body_part"} {
		if _, there := metadata[field]; there {
			return c, fmt.Errorf("%s: %s: is set by the release", workerMetadata, field)
		}
	}
	// Secrets are no part of a bundle; an upload without this would take them away.
	if _, there := metadata["keep_bindings"]; !there {
		metadata["keep_bindings"] = []string{"secret_text", "secret_key"}
	}
	if c.Files[workerMetadata], err = json.Marshal(metadata); err != nil {
		return c, err
	}
	c.Items = map[string]string{workerKey: tagOf(c.Files)}
	return c, nil
}

// tagOf names a content: the same files are the same version.
func tagOf(files map[string][]byte) string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s %d\n", len(path), path, len(files[path]))
		h.Write(files[path])
	}
	return tagPrefix + hex.EncodeToString(h.Sum(nil))[:32]
}

// share is a part of a deployment.
type share struct {
	Version string  `json:"version_id"`
	Percent float64 `json:"percentage"`
}

func split(shares []share) string {
	slices.SortFunc(shares, func(a, b share) int { return cmp.Compare(a.Version, b.Version) })
	b, err := json.Marshal(shares)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// deployment is what serves, or served.
type deployment struct {
	Versions    []share           `json:"versions"`
	Annotations map[string]string `json:"annotations"`
}

const (
	messageAnnotation = "workers/message"
	tagAnnotation     = "workers/tag"
)

// history returns the deployments, the one that serves first.
func (w *Worker) history(ctx context.Context, op string) ([]deployment, error) {
	var p workers.ScriptDeploymentListParams
	p.AccountID.Value, p.AccountID.Present = w.account, true
	var got struct {
		Deployments []deployment `json:"deployments"`
	}
	err := w.call(ctx, op, &got, func(ctx context.Context) error {
		_, err := w.deployments.List(ctx, w.script, p)
		return err
	})
	return got.Deployments, err
}

func (w *Worker) Read(ctx context.Context, _ []string) (config.State, error) {
	s := config.State{Items: map[string]string{}}
	past, err := w.history(ctx, "read")
	if err != nil || len(past) == 0 {
		return s, err
	}
	now := past[0]
	s.Release, _ = strings.CutPrefix(now.Annotations[messageAnnotation], config.Mark+" ")
	if s.Release == now.Annotations[messageAnnotation] {
		s.Release = "" // a message of somebody else
	}
	s.Items[workerKey] = split(slices.Clone(now.Versions))
	if len(now.Versions) != 1 {
		return s, nil
	}
	s.Version = now.Versions[0].Version
	tag, err := w.tag(ctx, s.Version)
	if tag != "" {
		s.Items[workerKey] = tag
	}
	return s, err
}

// tag returns the tag of a version that was made for a release, "" for others.
func (w *Worker) tag(ctx context.Context, version string) (string, error) {
	if !versionPattern.MatchString(version) {
		return "", w.refused("read", fmt.Sprintf("the version %q is not named as versions are", version))
	}
	var p workers.ScriptVersionGetParams
	p.AccountID.Value, p.AccountID.Present = w.account, true
	var got struct {
		Annotations map[string]string `json:"annotations"`
	}
	err := w.call(ctx, "read", &got, func(ctx context.Context) error {
		_, err := w.versions.Get(ctx, w.script, version, p)
		return err
	})
	if tag := got.Annotations[tagAnnotation]; strings.HasPrefix(tag, tagPrefix) {
		return tag, err
	}
	return "", err
}

var versionPattern = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// Stage finds the version of a tag among those that can be deployed, or uploads it.
func (w *Worker) Stage(ctx context.Context, want config.State, c config.Content) (config.State, error) {
	tag := want.Items[workerKey]
	if !strings.HasPrefix(tag, tagPrefix) {
		return want, nil // a split of before: its versions are there
	}
	var p workers.ScriptVersionListParams
	p.AccountID.Value, p.AccountID.Present = w.account, true
	p.Deployable.Value, p.Deployable.Present = true, true
	var got struct {
		Items []struct {
			ID          string            `json:"id"`
			Annotations map[string]string `json:"annotations"`
		} `json:"items"`
	}
	err := w.call(ctx, "stage", &got, func(ctx context.Context) error {
		_, err := w.versions.List(ctx, w.script, p)
		return err
	})
	if err != nil {
		return want, err
	}
	for _, v := range got.Items {
		if v.Annotations[tagAnnotation] == tag {
			want.Version = v.ID
			return want, nil
		}
	}
	want.Version, err = w.upload(ctx, tag, c)
	return want, err
}

// Write deploys: the version of the release, after its trial, or the split of before.
// A version that had all requests once needs no trial, and is deployed even if a secret
// has changed since, which Cloudflare otherwise refuses: going back must not fail.
func (w *Worker) Write(ctx context.Context, b config.Batch) error {
	value, message := b.Want.Items[workerKey], ""
	if b.Want.Release != "" {
		message = config.Mark + " " + b.Want.Release
	}
	if value == "" {
		return w.refused("change", "there was no deployment before, and there is no way back to none")
	}
	if !strings.HasPrefix(value, tagPrefix) {
		var shares []share
		if err := json.Unmarshal([]byte(value), &shares); err != nil {
			return fmt.Errorf("cannot change %s: %q is no split: %w", w.name, value, err)
		}
		w.passed = ""
		return w.deploy(ctx, shares, message, true)
	}
	past, err := w.history(ctx, "change")
	if err != nil {
		return err
	}
	all := []share{{b.Want.Version, 100}}
	served := slices.ContainsFunc(past, func(d deployment) bool { return slices.Equal(d.Versions, all) })
	if !served && len(past) > 0 && w.trial.For > 0 && w.passed != b.Want.Version {
		w.passed = ""
		if err := w.try(ctx, b, past[0]); err != nil {
			return err
		}
	}
	w.passed = b.Want.Version // what fails from here on costs no other trial
	return w.deploy(ctx, all, message, served)
}

func (w *Worker) deploy(ctx context.Context, shares []share, message string, force bool) error {
	var p workers.ScriptDeploymentNewParams
	p.AccountID.Value, p.AccountID.Present = w.account, true
	p.Force.Value, p.Force.Present = force, force
	d := &p.Deployment
	d.Strategy.Value, d.Strategy.Present = workers.DeploymentStrategyPercentage, true
	for _, s := range shares {
		var v workers.DeploymentVersionParam
		v.VersionID.Value, v.VersionID.Present = s.Version, true
		v.Percentage.Value, v.Percentage.Present = s.Percent, true
		d.Versions.Value, d.Versions.Present = append(d.Versions.Value, v), true
	}
	if message != "" {
		d.Annotations.Present = true
		d.Annotations.Value.WorkersMessage.Value, d.Annotations.Value.WorkersMessage.Present = message, true
	}
	return w.call(ctx, "change", nil, func(ctx context.Context) error {
		_, err := w.deployments.New(ctx, w.script, p)
		return err
	})
}
