package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/gate"
	"github.com/ebbgate/ebbgate/wire"
)

// gates makes the clients of every source that gates may ask.
func (cfg *controllerConfig) gates() (controller.GateSources, error) {
	var all controller.GateSources
	var err error
	all.Prometheus, err = gateSources(cfg, "prometheus", cfg.Gates.Prometheus, func(c gate.Config) (controller.GateSource, error) { return gate.NewPrometheus(c) })
	if err == nil {
		all.Webhooks, err = gateSources(cfg, "webhooks", cfg.Gates.Webhooks, func(c gate.Config) (controller.GateSource, error) { return gate.NewWebhook(c) })
	}
	return all, err
}

func gateSources(cfg *controllerConfig, kind string, from map[string]sourceConfig, open func(gate.Config) (controller.GateSource, error)) (map[string]controller.GateSource, error) {
	all := make(map[string]controller.GateSource)
	for _, name := range wire.Keys(from) {
		c := gate.Config{URL: from[name].URL}
		err := wire.CheckToken(name)
		if err == nil && from[name].TokenFile != "" {
			c.Token, err = cfg.secret(from[name].TokenFile)
		}
		if err == nil {
			all[name], err = open(c)
		}
		if err != nil {
			return nil, within("gates."+kind+"."+name, err)
		}
	}
	return all, nil
}

// secret reads a token file.
func (cfg *controllerConfig) secret(path string) (string, error) {
	data, err := smallfile.Read(cfg.path(path))
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", errors.New("token_file is empty")
	}
	return token, nil
}
