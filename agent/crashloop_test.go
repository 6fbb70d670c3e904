package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// TestCrashesAreReported kills the agent soon after an activation. The controller is told
// how often, for as long as the node serves that release; an orderly end is no crash.
func TestCrashesAreReported(t *testing.T) {
	scene := crashScenes[0]
	f, b, _, _ := scene.prepare(t)
	reports := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("a report of %d crashes", want), func() bool {
			r := f.lastReport(b)
			if r == nil {
				return false
			}
			run := r.Apps[testApp].Running
			if run == nil {
				t.Fatal("a report says that the node serves nothing")
			}
			return run.State == wire.StateConfirmed && run.Crashes == want
		})
		check(t, os.Remove(f.path("bus", "report")))
	}
	check(t, os.Remove(f.path("bus", "report")))
	cmd := f.start(child{})
	scene.settled(f, b, 20*time.Second)
	if traits, want := f.lastReport(b).Apps[testApp].Traits, []string{wire.TraitArms, wire.TraitDropFree}; !slices.Equal(traits, want) {
		t.Errorf("the builtin data plane declares %q, want %q", traits, want)
	}
	reports(0)
	for crashes := 1; crashes <= 2; crashes++ {
		check(t, cmd.Process.Kill())
		cmd.Wait()
		os.Remove(f.path("bus", "report")) // what the dead one said
		cmd = f.start(child{})
		reports(crashes)
	}
	end(t, cmd)
	os.Remove(f.path("bus", "report"))
	cmd = f.start(child{})
	reports(2)
	end(t, cmd)
}

// TestCrashLoop kills the agent again and again soon after an activation, without a
// network. The next start must serve the last known good release, and the bundle must
// stay marked.
func TestCrashLoop(t *testing.T) {
	scene := crashScenes[0]
	f, b, v1, v2 := scene.prepare(t)
	cmd := f.start(child{})
	scene.settled(f, b, 20*time.Second)
	check(t, cmd.Process.Kill())
	cmd.Wait()
	check(t, os.Rename(f.path("bus"), f.path("gone")))
	for range 2 {
		killedAt(t, f.start(child{Point: "step repair done", Nth: 1}), "step repair done")
	}
	cmd = f.start(child{})
	eventually(t, "the last known good release", func() bool {
		page, _ := get(t, f.listen, "/")
		return page == "one"
	})
	end(t, cmd)
	check(t, os.Rename(f.path("gone"), f.path("bus")))
	os.Remove(f.path("bus", "report"))
	cmd = f.start(child{})
	eventually(t, "the mark in the report", func() bool {
		r := f.lastReport(b)
		return r != nil && slices.Contains(r.Apps[testApp].Bad, v2.Digest) && r.Apps[testApp].Running.Digest == v1.Digest
	})
	if page, _ := get(t, f.listen, "/"); page != "one" {
		t.Fatalf("serves %q", page)
	}
	end(t, cmd)
}

// TestCrashLoopOfTheLastKnownGoodToo goes on killing the agent after it has gone back, or
// while it does. Without a network it ends at the second soaked release, and both others
// stay marked.
func TestCrashLoopOfTheLastKnownGoodToo(t *testing.T) {
	for _, tc := range []struct {
		name  string
		kills []string // points, from the start that gives up release 3 on
		left  int      // release that `current` names then
	}{
		{"after going back", []string{"step revert done", "step repair done", "step repair done"}, 2},
		{"while going back", slices.Repeat([]string{"data plane switched"}, 4), 1}, // the fourth on the way to release 1
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			b := f.withFiles()
			cmd := f.start(child{})
			reports := func(what string, ok func(wire.AppReport) bool) {
				t.Helper()
				eventually(t, what, func() bool {
					r := f.lastReport(b)
					return r != nil && r.Apps[testApp].Running != nil && ok(r.Apps[testApp])
				})
			}
			var targets []wire.Target
			var base *wire.Target
			for i, page := range []string{"one", "two", "three"} {
				v := at(f.publish(site(fmt.Sprint(i+1), page)), wire.Epoch(i+1))
				f.order(activate(base, v))
				if v.Epoch < 3 {
					f.order(wire.Order{Base: &v})
				}
				reports(page, func(r wire.AppReport) bool {
					return r.Running.Epoch == v.Epoch && (r.Running.State == wire.StateCommitted || v.Epoch == 3 && r.Running.State == wire.StateConfirmed)
				})
				targets, base = append(targets, v), &v
			}
			check(t, cmd.Process.Kill())
			cmd.Wait()
			check(t, os.Rename(f.path("bus"), f.path("gone")))
			for _, point := range append([]string{"step repair done", "step repair done"}, tc.kills...) {
				killedAt(t, f.start(child{Point: point, Nth: 1}), point)
			}
			cur, err := os.Readlink(f.path("state", "apps", string(testApp), "current"))
			check(t, err)
			if want := targets[tc.left-1].Digest.String(); filepath.Base(cur) != want {
				t.Fatalf("current names %s, want release %d, %s", cur, tc.left, want)
			}
			cmd = f.start(child{})
			eventually(t, "the second soaked release", func() bool { page, _ := get(t, f.listen, "/"); return page == "one" })
			end(t, cmd)
			check(t, os.Rename(f.path("gone"), f.path("bus")))
			check(t, os.Remove(f.path("bus", "report")))
			cmd = f.start(child{})
			reports("both marks, with the network again", func(r wire.AppReport) bool {
				return r.Running.Digest == targets[0].Digest && r.LKG == targets[0].Digest &&
					slices.Contains(r.Bad, targets[1].Digest) && slices.Contains(r.Bad, targets[2].Digest)
			})
			if page, _ := get(t, f.listen, "/"); page != "one" {
				t.Fatalf("serves %q", page)
			}
			end(t, cmd)
		})
	}
}
