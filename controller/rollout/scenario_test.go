package rollout

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "rewrite the expected lines of the scenarios")

// TestScenarios plays every testdata/*.txt: lines that begin with | are what is expected of
// the command above them. Each is played twice, the second time with a controller that dies
// after every event: the end has to be the same. See testdata/README.md.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f := newFleet(t)
			got := play(f, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(strings.Split(string(data), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", file, diff)
			}
			again := newFleet(t)
			again.restart = 1
			if diff := cmp.Diff(strings.Split(got, "\n"), strings.Split(play(again, string(data)), "\n")); diff != "" {
				t.Errorf("a restart after every event changes the course (-without +with):\n%s", diff)
			}
			if diff := cmp.Diff(asJSON(t, f.s.Record), asJSON(t, again.s.Record)); diff != "" {
				t.Errorf("a restart after every event changes the end (-without +with):\n%s", diff)
			}
		})
	}
}

func asJSON(t testing.TB, v any) string {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// play returns the script with the lines it led to.
func play(f *fleet, script string) string {
	var out []string
	var plan []string
	f.out = func(format string, args ...any) { out = append(out, "| "+fmt.Sprintf(format, args...)) }
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "|") {
			continue
		}
		out = append(out, line)
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			plan = append(plan, line[2:])
		case line == "plan":
			plan = nil
		default:
			if err := f.command(strings.Fields(line), strings.Join(plan, "\n")); err != nil {
				f.t.Fatalf("line %d: %s: %v", i+1, line, err)
			}
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// of reads what a command is bound to: [rollout|wave|step VALUE]….
func of(w []string) (o Of) {
	for ; len(w) > 1; w = w[2:] {
		fmt.Sscan(w[1], map[string]any{"rollout": &o.Rollout, "wave": &o.Wave, "step": &o.Step}[w[0]])
	}
	return o
}

func (f *fleet) command(w []string, plan string) error {
	ids := func() (ids []wire.AgentID) {
		for _, id := range w[1:] {
			ids = append(ids, wire.AgentID(id))
		}
		return ids
	}
	switch w[0] {
	case "agents": // agents REGION COUNT
		var n int
		fmt.Sscan(w[2], &n)
		var names []wire.AgentID
		for i := range n {
			names = append(names, wire.AgentID(fmt.Sprintf("%s-%d", w[1], i+1)))
		}
		f.enrol(wire.Region(w[1]), names...)
	case "enrol": // enrol REGION AGENT
		f.enrol(wire.Region(w[1]), wire.AgentID(w[2]))
	case "given": // given VERSION: all regions run it
		f.quiet = true
		p := basePlan()
		p.MaxUnavailable = Share(50)
		p.Waves = []Wave{{Regions: wire.Keys(f.nodes), Strategy: StrategyRolling}}
		f.run(2 * time.Second)
		f.operator(Start{Now: f.now, ID: "given", By: "test", Seed: "given", Target: bundle(wire.Version(w[1])), Plan: p})
		f.run(58 * time.Second)
		if f.s.Rollout.Status != StatusDone {
			return fmt.Errorf("the fleet does not get to %s: %s", w[1], strings.Join(Explain(f.s), "\n"))
		}
		f.quiet = false
	case "start": // start ID VERSION [source|acknowledge|supersede|emergency VALUE]…
		p, err := ParsePlan("plan.yaml", []byte(plan))
		if err != nil {
			return err
		}
		e := Start{Now: f.now, ID: w[1], By: "kim", Seed: w[1], Target: bundle(wire.Version(w[2])), Plan: p}
		for more := w[3:]; len(more) > 1; more = more[2:] {
			switch more[0] {
			case "source":
				e.Source = more[1]
			case "acknowledge":
				e.Acknowledge = more[1]
			case "supersede":
				e.Supersede = more[1]
			case "emergency":
				d, err := time.ParseDuration(more[1])
				if err != nil {
					return err
				}
				e.Emergency = &Emergency{Reason: "origin melts", Expires: f.now.Add(d)}
			default:
				return fmt.Errorf("no such option: %s", more[0])
			}
		}
		f.operator(e)
	case "approve": // approve NAME [rollout|wave|step VALUE]…
		f.operator(Approve{f.now, w[1], of(w[2:])})
	case "step-back":
		f.operator(StepBack{f.now, "kim", of(w[1:])})
	case "promote":
		f.operator(Promote{f.now, w[1], of(w[2:])})
	case "kind": // kind BUILD PLANE AGENT…
		for _, id := range w[3:] {
			_, n := f.find(wire.AgentID(id))
			n.build, n.app.Plane, n.changed = w[1], w[2], true
		}
	case "crashes": // crashes N AGENT…
		for _, id := range w[2:] {
			_, n := f.find(wire.AgentID(id))
			fmt.Sscan(w[1], &n.app.Running.Crashes)
			n.changed = true
		}
	case "gossip": // gossip REGION [AGENT…]: whom the region's agents do not see
		var seen []wire.AgentID
		for _, n := range f.nodes[wire.Region(w[1])] {
			if !slices.Contains(w[2:], string(n.id)) {
				seen = append(seen, n.id)
			}
		}
		for _, n := range f.nodes[wire.Region(w[1])] {
			n.peers, n.changed = seen, true
		}
	case "gate": // gate NAME VALUE [SAMPLES [REST [SAMPLES]]] | gate NAME down REASON | gate NAME pass|fail REASON | gate NAME mute
		var m Measured
		switch w[2] {
		case "mute":
			delete(f.sources, w[1])
			return nil
		case "down":
			m.Error = strings.Join(w[3:], " ")
		case "pass", "fail":
			m.Verdict, m.Reason = Verdict(w[2]), strings.Join(w[3:], " ")
		default:
			numbers := make([]*float64, 4)
			for i, word := range w[2:] {
				if word != "-" {
					numbers[i] = new(float64)
					fmt.Sscan(word, numbers[i])
				}
			}
			m.Cohort, m.Rest = Sample{numbers[0], numbers[1]}, Sample{numbers[2], numbers[3]}
		}
		f.sources[w[1]] = m
	case "room": // room REGION BYTES
		f.s.Room = map[wire.Region]int{wire.Region(w[1]): 0}
		var n int
		fmt.Sscan(w[2], &n)
		f.s.Room[wire.Region(w[1])] = n
	case "lag": // lag GATE DURATION
		d, err := time.ParseDuration(w[2])
		if err != nil {
			return err
		}
		f.lags[w[1]] = d
	case "pause":
		f.operator(Pause{f.now, "kim", of(w[1:])})
	case "resume":
		f.operator(Resume{f.now, "kim", of(w[1:])})
	case "abort":
		all := len(w) > 1 && w[1] == "all"
		if all {
			w = w[1:]
		}
		f.operator(Abort{f.now, "kim", all, of(w[1:])})
	case "undo": // undo ID
		f.operator(Undo{f.now, w[1], "kim", of(w[2:])})
	case "run": // run DURATION
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err
		}
		f.run(d)
	case "silent", "back", "drain", "undrain", "remove": // … AGENT…
		for _, id := range ids() {
			r, n := f.find(id)
			switch w[0] {
			case "silent", "back":
				n.silent = w[0] == "silent"
				continue
			case "drain", "undrain":
				n.drained = w[0] == "drain"
			case "remove":
				f.nodes[r] = slices.DeleteFunc(f.nodes[r], func(o *node) bool { return o == n })
			}
			f.list(r)
		}
	case "trouble": // trouble stage|activate|stuck|unhealthy VERSION AGENT…
		for _, id := range w[3:] {
			_, n := f.find(wire.AgentID(id))
			n.trouble[wire.Version(w[2])] = w[1]
		}
	case "cure": // cure AGENT…
		for _, id := range ids() {
			_, n := f.find(id)
			clear(n.trouble)
		}
	case "local": // local VERSION EPOCH AGENT…: rolled back on the node itself, to stay there
		for _, id := range w[3:] {
			_, n := f.find(wire.AgentID(id))
			var e wire.Epoch
			fmt.Sscan(w[2], &e)
			b := bundle(wire.Version(w[1]))
			n.app.Running = &wire.Running{Epoch: e, Digest: b.Digest, Version: b.Version, State: wire.StateActive, Since: f.now}
			n.app.Next, n.pinned, n.changed, n.since = nil, true, true, f.now
		}
	case "follow": // follow AGENT…: it takes orders again
		for _, id := range ids() {
			_, n := f.find(id)
			n.pinned = false
		}
	case "glitch": // glitch DURATION: one tick of a clock that is that far ahead
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err
		}
		every := f.restart
		f.restart = 0 // a new controller would have a clock that is right
		f.feed(Tick{f.now.Add(d)})
		f.restart = every
		f.feed(Tick{f.now})
	case "purges": // purges REGION ok|hold|unseen|stale|fail REASON
		switch r := wire.Region(w[1]); w[2] {
		case "ok":
			delete(f.stuck, r)
		case "hold":
			f.stuck[r] = "hold"
		case "unseen", "stale":
			f.stuck[r] = strings.Join(w[2:], " ")
		case "fail":
			f.stuck[r] = strings.Join(w[3:], " ")
		}
	case "again": // again AGENT: its reports of the past come once more, newest first
		for _, id := range ids() {
			_, n := f.find(id)
			for _, e := range slices.Backward(slices.Clone(n.log)) {
				e.Now = f.now
				f.feed(e)
			}
		}
	case "status":
		f.status()
	case "explain":
		for _, line := range Explain(f.s) {
			f.out("%s", line)
		}
	default:
		return errors.New("no such command")
	}
	return nil
}

// operator gives a command the way the shell does: ask first.
func (f *fleet) operator(e Event) {
	if err := Check(f.s, e); err != nil {
		f.out("refused: %v", err)
		return
	}
	f.feed(e)
}

func (f *fleet) status() {
	sum := Status(f.s)
	ro := sum.Rollout
	f.out("%s %s of %s, wave %d of %d", ro.ID, ro.Status, ro.Version, ro.Wave+1, len(ro.Waves))
	if ro.Reason != "" {
		f.out("  because: %s", ro.Reason)
	}
	for _, w := range ro.Waves {
		for _, r := range w.Regions {
			c := r.Counts
			line := fmt.Sprintf("  %s %s, runs %s", r.Region, r.Phase, cmpOr(r.Running, "nothing"))
			if r.Next != "" {
				line += fmt.Sprintf(", next %s@%d", r.Next, r.Epoch)
			}
			for _, o := range r.Others {
				line += fmt.Sprintf(", also %s on %s", o.Version, Plural(o.Agents, "agent"))
			}
			line += fmt.Sprintf("; of %d: %d staged, %d active, %d confirmed, %d failed, %d silent", c.Total, c.Staged, c.Active, c.Confirmed, c.Failed, c.Silent)
			if r.Purge != nil {
				state := "open"
				if !r.Purge.Verified.IsZero() {
					state = "verified"
				} else if r.Purge.Failed != "" {
					state = "failed"
				}
				line += fmt.Sprintf("; purge round %d of %d %s", r.Purge.Round, r.Purge.Epoch, state)
			}
			if !r.BakesUntil.IsZero() {
				line += "; bakes until " + sinceEpoch0(r.BakesUntil)
			}
			f.out("%s", line)
		}
	}
}

func cmpOr(v, alt wire.Version) wire.Version {
	if v == "" {
		return alt
	}
	return v
}
