package controller_test

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// A place to purge that is half named is found before an agent switches, not after.
func TestTargetsAreWhole(t *testing.T) {
	f := newFleet(t, spec{regions: one()})
	for want, target := range map[string]controller.CDNTarget{
		`region ams: cdn provider "" is not configured`:     {Scope: scope(ams)},
		"region ams: scope at cdn provider fastly is blank": {Provider: "fastly"},
		// What the outbox would refuse is refused before a node has switched.
		`region ams: scope at cdn provider fastly: "zone 2" must be`:        {Provider: "fastly", Scope: "zone 2"},
		`region ams: scope at cdn provider fastly: "../../zone2 x" must be`: {Provider: "fastly", Scope: "../../zone2 x"},
		`region ams: cdn provider "other" is not configured`:                {Provider: "other", Scope: scope(ams)},
	} {
		_, err := controller.New(controller.Config{
			Dir: t.TempDir(), Bus: f.bus.Controller("main"), Trust: f.trust, Key: f.control, Purgers: []cdn.Purger{f.purger},
			Regions: map[wire.Region]controller.RegionConfig{ams: {CDN: []controller.CDNTarget{target}}},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", target, err, want)
		}
	}
}
