package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

func newControllerCommand(c *cli) *cobra.Command {
	var path, level string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller",
		Long: `Run the controller of a fleet: its API, and the NATS server embedded in it unless
nats.servers names others. "controller init" makes all that it needs. A second controller
on the same servers stands by: deploy/nats/README.md.

In controller.yaml, origin_fetch (2s, at most 1h) is the longest that an answer may be on its
way from the origin to a cache: every purge is repeated no sooner than that after the first.
lost (30s) is how long an agent may be silent before it is unknown. gates.prometheus and
gates.webhooks name, each with a url and a token_file, whom the gates of plans may ask.
freeze lists windows, as in a plan, in which nothing begins in the whole fleet.

providers names the accounts at CDN providers, and a region's cdn list which of their scopes
are its caches; tier (0) says how far from the origin each is, optional: true that nobody
waits for it: if it refuses a purge it is left behind, which "rollout get", "rollout explain"
and "region ls" tell, and asked for that again with the region's next purge.

  providers:
    edge:                     # the account
      kind: fastly
      token_file: fastly.token
      fences: {SU1Z0isxPaozGVKXdv0eY: 4y5K5trZocEAQYkesWlk7M}
  regions:
    eu-west:
      cdn: [{provider: edge, scope: SU1Z0isxPaozGVKXdv0eY, tier: 1}]

A region's probes are its vantage points: of an app, with a name, each once, and a url that is
asked after a purge, its answer telling whether the purge worked; address (host:port) asks one
particular cache, host replaces the Host header. through names the one target that it looks
through and proves, provider or provider/scope; without it, it proves all. Of a target that
none proves, the provider's word is taken, and the evidence says so. The url should be one that every
release purges, such as the page of the identity: an older answer that nothing has purged, as
its Cache-Tag or Surrogate-Key shows, proves nothing; one without either counts as stale.

  kind        scope         needs               may have
  fastly      service       token_file          endpoint, fences
  cloudflare  zone          token_file, plan    endpoint, variants, environments
  cloudfront  distribution  token_file          endpoint, aws_region
  varnish     group         token_file, groups  gap
  http        group         groups              token_file, gap, http

fences: {service: dictionary} are dictionaries that the service's VCL looks up (deploy/fastly).
plan is free, pro, business or enterprise. variants are the request headers that make cached
forms of a URL, environments: {zone: environment} narrows purges. The token_file of cloudfront
is a credentials file of the AWS CLI; aws_region is us-east-1. groups: {group: [URL, ...]} are
the caches of each group, each once; gap (2s, at most 1h) is before their second purge, at least
the longest origin fetch. http says how they take a purge: method (PURGE; GET only where every
URL of the groups has a path that is for purges alone), accept ([200, 204, 404]), key_header and
key_separator, key_path (/), all_path, and token_header (Authorization, as a bearer token). The
name of an account is of a-z, 0-9 and hyphens; its fences and environments
are of scopes that some region's cdn has.

The log goes to standard error. The API listens on loopback.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("--log %q is not debug, info, warn or error", level)
			}
			cfg, err := loadControllerConfig(path)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: l}))
			return runController(cmd.Context(), cfg, log)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "controller.yaml", "configuration file")
	cmd.Flags().StringVar(&level, "log", "info", "debug, info, warn or error")
	cmd.AddCommand(newControllerInitCommand(c))
	return cmd
}

// runController reads every file first; then it starts everything in the order in which it
// is needed, NATS, controller, API, and stops it in the reverse order.
func runController(ctx context.Context, cfg *controllerConfig, log *slog.Logger) (err error) {
	envelope, err := smallfile.Read(filepath.Join(cfg.path(cfg.Keys), "root.json"))
	if err != nil {
		return fmt.Errorf("cannot read the root: %w", err)
	}
	trust, err := wire.NewTrust(envelope)
	if err != nil {
		return fmt.Errorf("cannot trust root.json: %w", err)
	}
	key, err := readKey(filepath.Join(cfg.path(cfg.Keys), "controller.key"))
	if err != nil {
		return err
	}
	purgers, err := cfg.purgers()
	if err != nil {
		return cfg.at(err)
	}
	regions, err := cfg.regions()
	if err != nil {
		return cfg.at(err)
	}
	gates, err := cfg.gates()
	if err != nil {
		return cfg.at(err)
	}
	tokens, err := api.LoadTokens(cfg.path(cfg.Tokens))
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}

	bus, keys, servers, stop, err := openBus(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stop()
	ctl, err := controller.New(controller.Config{
		Name: fmt.Sprintf("%s (%s)", host, cfg.Listen),
		Dir:  cfg.path(cfg.State), Bus: bus, Trust: trust, Key: key, Regions: regions, Purgers: purgers, Gates: gates, Freeze: cfg.Freeze,
		Replicas: cfg.NATS.Replicas, Lost: time.Duration(cfg.Lost), OriginFetch: time.Duration(cfg.OriginFetch), Log: log,
		Enroll: func(r wire.Region, a wire.AgentID) (e controller.Enrolment, err error) {
			creds, err := keys.MintAgentCreds(a, r)
			if err != nil {
				return e, err
			}
			e.Creds, e.Servers, e.Seeds = string(creds), servers, cfg.Gossip.Seeds[r]
			e.GossipKey, err = cfg.gossipKey(r)
			return e, err
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ctl.Close()) }()

	srv, err := api.New(api.Config{Controller: ctl, Tokens: tokens, Log: log})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen for the API: %w", err)
	}
	log.Info("api listening", "url", "http://"+listener.Addr().String())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return srv.Serve(listener) })
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	g.Go(func() error { return ctl.Run(ctx) })
	return g.Wait()
}

// openBus connects to the user's NATS servers, or starts the embedded one and connects to
// that. The keys make agents' credentials.
func openBus(ctx context.Context, cfg *controllerConfig, log *slog.Logger) (wire.ControllerBus, *hub.Keys, []string, func(), error) {
	keys, err := hub.OpenKeys(cfg.path(cfg.NATS.Hub))
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("cannot open the keys of NATS: %w", err)
	}
	servers, stopServer := cfg.NATS.Servers, func() {}
	if len(servers) == 0 {
		host, port, err := cfg.NATS.listen()
		if err != nil {
			return nil, nil, nil, nil, cfg.at(err)
		}
		srv, err := hub.Start(hub.Config{Dir: cfg.path(cfg.NATS.Hub), Host: host, Port: port, Logger: log})
		if err != nil {
			return nil, nil, nil, nil, err
		}
		keys = srv.Keys()
		servers, stopServer = []string{srv.ClientURL()}, func() {
			if err := srv.Close(); err != nil {
				log.Warn("the embedded NATS server did not stop cleanly", "error", err)
			}
		}
	}
	bus, err := connectBus(ctx, cfg, keys, servers, log)
	if err != nil {
		stopServer()
		return nil, nil, nil, nil, err
	}
	told := servers
	if len(cfg.NATS.Advertise) > 0 {
		told = cfg.NATS.Advertise
	}
	return bus, keys, told, func() { bus.Close(); stopServer() }, nil
}

// busWait is short: controllers are few, and a fleet whose bus was restarted waits for them.
const busWait = 250 * time.Millisecond

func connectBus(ctx context.Context, cfg *controllerConfig, keys *hub.Keys, servers []string, log *slog.Logger) (wire.ControllerBus, error) {
	conn := natsbus.ControllerConfig{Servers: servers, Name: "controller", ReconnectWait: busWait, Logger: log}
	if cfg.NATS.Creds != "" {
		conn.CredsFile = cfg.path(cfg.NATS.Creds)
	} else {
		creds, err := keys.MintControllerCreds(conn.Name)
		if err != nil {
			return nil, fmt.Errorf("cannot make the controller's credentials: %w", err)
		}
		conn.Creds = creds
	}
	return natsbus.ConnectController(ctx, conn)
}
