package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// Config is what a controller needs.
type Config struct {
	Dir     string                       // for controller.db; made if missing. Required
	Bus     wire.ControllerBus           // closed by its owner. Required
	Trust   *wire.Trust                  // Required
	Name    string                       // by which operators know this controller; default: none
	Key     wire.PrivateKey              // in the root's controller role. Required
	Regions map[wire.Region]RegionConfig // region → where its content is cached. Required
	Purgers []cdn.Purger                 // the providers the regions name
	Gates   GateSources                  // whom plans may let gates ask
	// Freeze is when nothing begins in the whole fleet: these windows are part of every plan
	// that is started. Undoing a rollout passes over them, as over all freezes.
	Freeze []rollout.Window
	// Enroll makes what an agent needs to take part; region, agent and root are filled in
	// afterwards. Nil: this controller enrolls no one.
	Enroll   func(wire.Region, wire.AgentID) (Enrolment, error)
	Replicas int           // of the streams, 1 or 3; default 1
	Lost     time.Duration // an agent silent for this long is unknown; default 30 s
	Tick     time.Duration // how often time passes for the engine; default 250 ms
	// OriginFetch is the longest time an answer may be on its way from the origin: the
	// second purge comes no sooner than that after the first. Default 2 s.
	OriginFetch time.Duration
	Log         *slog.Logger // default: slog.Default()

	silence time.Duration // of a leader after which another one takes over; leaseSilence outside tests
	// patience is how long the first purge of a target waits for its fence and for the tiers
	// behind it; 10 s outside tests.
	patience time.Duration
	document int                // most bytes of a region's signed document; wire.MaxDesired outside tests
	record   int                // most bytes of a journal record on the bus; wire.MaxRecord outside tests
	losses   time.Duration      // how often the bus is looked through for losses; lossEvery outside tests
	trace    func(point string) // told of every point at which a crash matters; nil outside tests
}

// RegionConfig says where a region's content is cached and how to see that it is fresh.
type RegionConfig struct {
	CDN []CDNTarget `json:"cdn" yaml:"cdn"`
	// Probes look at an app's content after its last purge. An epoch means something within
	// an app only, so each app has its own; without one the provider's word is taken.
	Probes map[wire.App]*cdn.Probe `json:"-" yaml:"-"` // app → vantage points
}

// CDNTarget is one place to purge.
type CDNTarget struct {
	Provider string `json:"provider" yaml:"provider"` // name of a Purger
	Scope    string `json:"scope" yaml:"scope"`       // service, zone or group of instances
	// Tier says how far from the origin it is: lower ones are purged before higher ones, which
	// refill from them. A shield is 0, the edge before it 1.
	Tier int `json:"tier,omitempty" yaml:"tier"`
	// Optional lets a region go on without it: its purges are sent and repeated all the same,
	// and nobody waits for them or proves them. What it refuses is told, and asked again with
	// the region's next purge.
	Optional bool `json:"optional,omitempty" yaml:"optional"`
}

// maxName bounds the name of a controller: the lease holds it beside an id.
const maxName = 200

func (cfg *Config) validate() error {
	switch {
	case cfg.Dir == "":
		return errors.New("controller: dir is missing")
	case cfg.Bus == nil:
		return errors.New("controller: bus is missing")
	case cfg.Trust == nil:
		return errors.New("controller: trust is missing")
	case len(cfg.Regions) == 0:
		return errors.New("controller: regions is empty")
	case len(cfg.Name) > maxName || !utf8.ValidString(cfg.Name) || strings.ContainsFunc(cfg.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("controller: name %q has more than %d bytes or is not printable", wire.Clip(cfg.Name), maxName)
	case cfg.Lost < 0 || cfg.Tick < 0 || cfg.OriginFetch < 0:
		return errors.New("controller: lost, tick and origin fetch must not be negative")
	}
	listed := false
	for _, k := range cfg.Trust.Root().Roles[wire.RoleController].Keys {
		listed = listed || k == cfg.Key.Public()
	}
	if !listed {
		return errors.New("controller: the key is not in the root's controller role, so no agent would believe it")
	}
	known := make(map[string]bool)
	for _, p := range cfg.Purgers {
		known[p.Name()] = true
	}
	for _, r := range wire.Keys(cfg.Regions) {
		if err := wire.CheckToken(string(r)); err != nil {
			return fmt.Errorf("controller: region %w", err)
		}
		for _, t := range cfg.Regions[r].CDN {
			if !known[t.Provider] {
				return fmt.Errorf("controller: region %s: cdn provider %q is not configured", r, t.Provider)
			}
			if t.Scope == "" {
				return fmt.Errorf("controller: region %s: scope at cdn provider %s is blank", r, t.Provider)
			}
			if err := cdn.ValidateScope(t.Scope); err != nil {
				return fmt.Errorf("controller: region %s: scope at cdn provider %s: %w", r, t.Provider, err)
			}
		}
	}
	some := wire.Keys(cfg.Regions)[:1] // which, does not matter to windows
	frozen := rollout.DefaultPlan(some)
	frozen.Freeze = cfg.Freeze
	if err := frozen.Validate(some); err != nil {
		if wrong, ok := errors.AsType[*wire.FieldError](err); ok {
			return fmt.Errorf("controller: %s: %s", wrong.Field, wrong.Reason)
		}
		return fmt.Errorf("controller: %w", err)
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.Lost == 0 {
		cfg.Lost = 30 * time.Second
	}
	if cfg.Tick == 0 {
		cfg.Tick = 250 * time.Millisecond
	}
	if cfg.OriginFetch == 0 {
		cfg.OriginFetch = 2 * time.Second
	}
	if cfg.silence == 0 {
		cfg.silence = leaseSilence
	}
	if cfg.patience == 0 {
		cfg.patience = 10 * time.Second
	}
	if cfg.document == 0 {
		cfg.document = wire.MaxDesired
	}
	if cfg.record == 0 {
		cfg.record = wire.MaxRecord
	}
	if cfg.losses == 0 {
		cfg.losses = lossEvery
	}
	if cfg.trace == nil {
		cfg.trace = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return os.MkdirAll(cfg.Dir, 0o700)
}
