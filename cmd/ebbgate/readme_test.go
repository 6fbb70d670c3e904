package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/controller/gate"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// readme returns the README, and its blocks of code.
func readme(t *testing.T) (text string, blocks []string) {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(data), "\n```") {
		if i%2 == 1 {
			blocks = append(blocks, part[strings.Index(part, "\n")+1:])
		}
	}
	return string(data), blocks
}

// blockOf returns the block of code that begins with a line.
func blockOf(t *testing.T, blocks []string, first string) string {
	t.Helper()
	i := slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, first) })
	if i < 0 {
		t.Fatalf("the README has no block that begins with %q", first)
	}
	return blocks[i]
}

// Whoever follows the README has a controller that takes the README's plan.
func TestReadmePlan(t *testing.T) {
	_, blocks := readme(t)
	var regions []string
	for _, m := range regexp.MustCompile(`--region (\S+)`).FindAllStringSubmatch(strings.SplitN(blockOf(t, blocks, "ebbgate controller init"), "\n", 2)[0], -1) {
		regions = append(regions, m[1])
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "controller.yaml")
	if err := initController(dir, "prod", regions); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := make(map[string]any)
	for _, text := range []string{string(made), blockOf(t, blocks, "# controller.yaml")} {
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadControllerConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := cfg.gates()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rollout.ParsePlan("plan.yaml", []byte(blockOf(t, blocks, "# plan.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(wire.Keys(cfg.Regions)); err != nil {
		t.Error(err)
	}
	planned := make(map[wire.Region]bool)
	for _, w := range p.Waves {
		for _, r := range w.Regions {
			planned[r] = true
		}
	}
	if len(planned) != len(cfg.Regions) {
		t.Errorf("the plan has the regions %v, the fleet %v", wire.Keys(planned), wire.Keys(cfg.Regions))
	}
	for _, g := range p.Gates {
		if sources.Prometheus[g.Prometheus] == nil {
			t.Errorf("gate %s asks %q, which controller.yaml does not name", g.Name, g.Prometheus)
		}
	}
}

// Whoever writes a webhook by the README is asked what it says, and may answer what it says.
func TestReadmeWebhook(t *testing.T) {
	text, blocks := readme(t)
	example := blockOf(t, blocks, `{"app"`)
	var q gate.Question
	if err := wire.DecodeJSON("question", 4096, []byte(example), &q); err != nil {
		t.Fatal(err)
	}
	again, err := wire.EncodeJSON(q)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.NewReplacer(" ", "", "\n", "").Replace(example); string(again) != want {
		t.Errorf("the question is\n%s\nthe README has\n%s", again, want)
	}
	answer := regexp.MustCompile("`({\"verdict\"[^`]*)`").FindStringSubmatch(text)
	if answer == nil {
		t.Fatal("the README has no answer")
	}
	var a gate.Answer
	if err := wire.DecodeJSON("answer", 4096, []byte(answer[1]), &a); err != nil || a.Verdict == "" || a.Reason == "" {
		t.Errorf("the answer %s is %+v, %v", answer[1], a, err)
	}
}

// Every command in the README is one, with the flags that it is given there; in a block of
// code it has its arguments, too.
func TestReadmeCommands(t *testing.T) {
	text, blocks := readme(t)
	found := 0
	check := func(line string, whole bool) {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "ebbgate" && words[0] != "bin/ebbgate" {
			return
		}
		found++
		cmd, rest, err := newRootCommand(&cli{}).Find(words[1:])
		cmd.InitDefaultHelpFlag()
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		args := cmd.Flags().Args()
		if err == nil && whole {
			err = cmd.ValidateArgs(args)
		}
		if group := cmd.HasSubCommands() && !strings.Contains(cmd.Use, " "); err != nil || group && len(args) > 0 {
			t.Errorf("%s: %v, %q of %s", line, err, args, cmd.CommandPath())
		}
	}
	for _, block := range blocks {
		for line := range strings.Lines(block) {
			check(strings.TrimSpace(line), true)
		}
	}
	for _, m := range regexp.MustCompile("`((?:bin/)?ebbgate [^`]+)`").FindAllStringSubmatch(text, -1) {
		check(m[1], false)
	}
	if found < 10 {
		t.Errorf("found %d commands", found)
	}
}
