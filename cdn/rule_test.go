package cdn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testVars = Vars{"app": "waf", "region": "eu-west", "epoch": "17", "version": "1.4.0"}

func TestSelect(t *testing.T) {
	rules := []Rule{
		{Files: "rules/**", Selectors: []string{"key:rules@{region}-{epoch}", "key:{app}"}},
		{Files: "rules/*.conf", Selectors: []string{"key:{app}", "prefix:www.example.com/{version}/rules/"}},
		{Files: "**/*.{js,css}", Selectors: []string{"host:static.example.com"}},
		{Files: "index.html", Selectors: []string{"url:https://www.example.com/"}},
	}
	// What names an epoch or a version counts whatever has changed.
	age, aged := Selector{Key, "rules@eu-west-17"}, Selector{Prefix, "www.example.com/1.4.0/rules/"}
	for files, want := range map[string][]Selector{
		"":                       {age, aged},
		"README":                 {age, aged},
		"index.html":             {age, {URL, "https://www.example.com/"}, aged},
		"sub/index.html":         {age, aged},
		"rules/crs/a.conf":       {age, {Key, "waf"}, aged},
		"rules/a.conf":           {age, {Key, "waf"}, aged},
		"a.js b/c.css rules/a.d": {age, {Key, "waf"}, aged, {Host, "static.example.com"}},
	} {
		got, err := Select(rules, strings.Fields(files), testVars)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", files, diff)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	good := Rule{Files: "**", Selectors: []string{"all"}}
	for want, bad := range map[string]Rule{
		`rules[1].files "[" is not a valid glob`:   {Files: "[", Selectors: []string{"all"}},
		`rules[1].files "" is not a valid glob`:    {Selectors: []string{"all"}},
		"rules[1].selectors is empty":              {Files: "**"},
		"unknown variable {generation}":            {Files: "none", Selectors: []string{"key:{generation}"}},
		"unknown variable {}":                      {Files: "none", Selectors: []string{"key:{}"}},
		"unclosed {":                               {Files: "none", Selectors: []string{"key:{region"}},
		`rules[1].selectors[1] "key:a b"`:          {Files: "none", Selectors: []string{"all", "key:a b"}},
		"key contains a space":                     {Files: "none", Selectors: []string{"key:a {region}"}},
		`rules[1].selectors[0] "tag:x": invalid s`: {Files: "none", Selectors: []string{"tag:x"}},
	} {
		_, err := Select([]Rule{good, bad}, []string{"a"}, testVars)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	rule := Rule{Files: "**", Selectors: []string{"key:{app}@{region}-{epoch}/{version}"}}
	if err := rule.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := Select([]Rule{rule}, nil, Vars{"app": "waf"}); err == nil || !strings.Contains(err.Error(), "{region} has no value") {
		t.Errorf("missing value: %v", err)
	}
	// A value is not a template.
	got, err := Select([]Rule{{Files: "**", Selectors: []string{"key:{app}"}}}, []string{"a"}, Vars{"app": "{epoch}"})
	if err != nil || got[0].Value != "{epoch}" {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzSelect(f *testing.F) {
	f.Add("rules/**", "key:rules@{region}-{epoch}", "rules/a")
	f.Add("{a,b}*", "prefix:{app}/{version}", "a")
	f.Fuzz(func(t *testing.T, glob, template, file string) {
		got, err := Select([]Rule{{Files: glob, Selectors: []string{template}}}, []string{file}, testVars)
		if err == nil && len(got) > 1 {
			t.Errorf("%d selectors from one template", len(got))
		}
	})
}
