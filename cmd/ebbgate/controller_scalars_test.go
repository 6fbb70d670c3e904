package main

import (
	"strings"
	"testing"
)

// A number or a duration that is not taken as it is written is refused with file, line and
// field, wherever it stands.
func TestConfigScalars(t *testing.T) {
	for text, want := range map[string]string{
		"lost: -1s":                    `controller.yaml:2: lost: duration "-1s" is negative`,
		"lost: soon":                   `controller.yaml:2: lost: "soon" is not a duration like 30s or 1m30s`,
		"nats:\n  replicas: 1.5":       `controller.yaml:3: nats.replicas: "1.5" is not a whole number`,
		"nats:\n  replicas: \"1\"":     `controller.yaml:3: nats.replicas: "1" is not a whole number`,
		"providers:\n  a:\n    gap: 1": `controller.yaml:4: providers.a.gap: "1" is not a duration`,
		"providers:\n  shield:\n    kind: varnish\n    gap: -1s":                                                              `controller.yaml:5: providers.shield.gap: duration "-1s" is negative`,
		"providers:\n  own:\n    http:\n      accept:\n      - 200\n      - 204.5":                                            `controller.yaml:7: providers.own.http.accept[1]: "204.5" is not a whole number`,
		"regions:\n  ams:\n    cdn:\n    - {provider: edge, scope: s}\n    - provider: edge\n      scope: t\n      tier: 1.5": `controller.yaml:7: regions.ams.cdn[1].tier: "1.5" is not a whole number`,
		"lost: [1]": "controller.yaml: line 2: cannot unmarshal", // for the decoder to say
	} {
		if _, err := loadText(t, text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	// What stands for itself in another field, and what is left blank.
	if cfg, err := loadText(t, "nats: {replicas: }\nlost: 1m\nproviders: {}"); err != nil || cfg.NATS.Replicas != 0 || cfg.Lost.String() != "1m0s" {
		t.Errorf("%+v, %v", cfg, err)
	}
}
