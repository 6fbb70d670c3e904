package stale

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func TestCourse(t *testing.T) {
	decision := func(r wire.Region, k rollout.Kind, at int64, epoch, round string) rollout.Decision {
		d := rollout.Decision{Region: r, Kind: k, At: time.Unix(0, at)}
		if k == rollout.KindBarrier {
			d.Epoch, d.Inputs = 99, map[string]string{"epoch": epoch, "round": round}
		}
		return d
	}
	const eu, us wire.Region = "eu-north", "us-west"
	plain := []rollout.Decision{
		decision(eu, rollout.KindBarrier, 50, "1", "2"), // of the release before
		decision(us, rollout.KindActivate, 90, "", ""),
		decision(eu, rollout.KindActivate, 100, "", ""),
		decision(us, rollout.KindBarrier, 150, "7", "1"),
		decision(eu, rollout.KindBarrier, 200, "2", "1"),
	}
	back := append(plain[:len(plain):len(plain)], decision(eu, rollout.KindRevert, 250, "", ""), decision(eu, rollout.KindBarrier, 300, "3", "1"))
	late := append(plain[:len(plain):len(plain)], decision(eu, rollout.KindBarrier, 300, "2", "2"))
	for name, tc := range map[string]struct {
		decisions []rollout.Decision
		behind    bool
		due       int64
		want      course
	}{
		"nothing":               {plain[:2], false, 0, course{region: eu}},
		"activated":             {plain[:3], false, 0, course{region: eu, activated: 100}},
		"reached":               {plain, false, 0, course{eu, 100, []floor{{2, 200}}, []floor{{2, 200}}}},
		"taken back":            {back, false, 0, course{eu, 100, []floor{{2, 200}, {3, 300}}, []floor{{2, 200}, {3, 300}}}},
		"purged for a late one": {late, false, 0, course{eu, 100, []floor{{2, 200}, {2, 300}}, []floor{{2, 200}, {2, 300}}}},
		"one is left behind":    {plain, true, 0, course{eu, 100, []floor{{2, 200}}, nil}},
		"and followed":          {late, true, 0, course{eu, 100, []floor{{2, 200}, {2, 300}}, []floor{{2, 300}}}},
		"and never followed":    {plain, true, 400, course{eu, 100, []floor{{2, 200}}, []floor{{2, 400}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, courseOf(eu, tc.decisions, tc.behind, tc.due), cmp.AllowUnexported(course{}, floor{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
