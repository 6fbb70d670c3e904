package cdn

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSelector(t *testing.T) {
	for text, want := range map[string]Selector{
		"key:rules":                       {Key, "rules"},
		"key:rules@eu-west-17":            {Key, "rules@eu-west-17"},
		"key:a:b/c,d":                     {Key, "a:b/c,d"},
		"key:...":                         {Key, "..."},
		"url:https://www.example.com/a?b": {URL, "https://www.example.com/a?b"},
		"url:http://127.0.0.1:8080/":      {URL, "http://127.0.0.1:8080/"},
		"prefix:www.example.com/rules/":   {Prefix, "www.example.com/rules/"},
		"host:www.example.com":            {Host, "www.example.com"},
		"all":                             {Kind: All},
	} {
		got, err := ParseSelector(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "kind must be one of",
		"rules":                              `selector "rules": kind must be one of`,
		"regex:.*":                           "kind must be one of",
		"all:":                               "all takes no value",
		"all:x":                              "all takes no value",
		"key:":                               "key is empty",
		"key:a b":                            "key contains a space",
		"key:.":                              "path segment",
		"key:..":                             "path segment",
		"key:a*":                             "wildcard",
		"key:a\tb":                           "byte 0x09",
		"key:a\r\nX: 1":                      "key contains a space",
		"key:\x00":                           "byte 0x00",
		"key:é":                              "byte 0xc3",
		"key:a\"b":                           "byte 0x22",
		"key:" + strings.Repeat("k", 1025):   "1025 bytes",
		"url:":                               "scheme",
		"url:www.example.com/a":              "scheme",
		"url:ftp://www.example.com/a":        "scheme",
		"url:https://u:p@www.example.com/":   "user information",
		"url:https://www.example.com/a#b":    "fragment",
		"url:https://www.example.com/*":      "wildcard",
		"url:https://www.example.com/a/../b": "path segment",
		"url:https://WWW.example.com/":       "lower case",
		"url:https:///a":                     "host is empty",
		"url:https://a:b/":                   "does not parse",
		"url:https://a:99999999/":            "bad port",
		"url:https://a/" + strings.Repeat("a", 8000): "8010 bytes",
		"prefix:www.example.com":                     "no path",
		"prefix:https://www.example.com/a":           "without a scheme",
		"prefix:www.example.com/a?b":                 "query",
		"prefix:/a":                                  "host is empty",
		"host:":                                      "host is empty",
		"host:*.example.com":                         "bad label",
		"host:www..example.com":                      "bad label",
		"host:www.example.com:443":                   "bad label",
	} {
		_, err := ParseSelector(text)
		if !errors.Is(err, ErrSelector) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want %q", text, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\t\x00") {
			t.Errorf("%.60q: error has control characters: %q", text, err)
		}
	}
}

func TestSelectorJSON(t *testing.T) {
	in := map[Selector][]Selector{{Key, "a"}: {{Kind: All}, {Host, "www.example.com"}}}
	data, err := json.Marshal(in)
	if err != nil || string(data) != `{"key:a":["all","host:www.example.com"]}` {
		t.Fatalf("%s %v", data, err)
	}
	var out map[Selector][]Selector
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte(`{"key:a b":[]}`), &out); err == nil {
		t.Error("an invalid selector was read")
	}
	if _, err := json.Marshal(Selector{}); err == nil {
		t.Error("an invalid selector was written")
	}
}

func TestCoalesce(t *testing.T) {
	got := Coalesce([]Selector{{URL, "https://a/"}, {Key, "b"}, {Key, "a"}, {Key, "b"}})
	if diff := cmp.Diff([]Selector{{Key, "a"}, {Key, "b"}, {URL, "https://a/"}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Selector{{Kind: All}}, Coalesce([]Selector{{Key, "a"}, {Kind: All}})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"all", "key:rules@eu-west-17", "url:https://www.example.com/a?b", "prefix:a.b/c", "host:a.b", "key:a b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error is not one line: %q", err)
			}
			return
		}
		if s.String() != text {
			t.Errorf("%q became %q", text, s)
		}
		if strings.ContainsAny(s.Value, " \"\\\r\n") {
			t.Errorf("%q can leave its place in a header or a ban", s)
		}
	})
}

func TestHostPath(t *testing.T) {
	for text, want := range map[string][2]string{
		"url:https://www.example.com":            {"www.example.com", "/"},
		"url:https://www.example.com?x=/":        {"www.example.com", "/?x=/"},
		"url:http://www.example.com:8080/a//|?x": {"www.example.com:8080", "/a//|?x"},
		"url:https://www.example.com//a%2Fb":     {"www.example.com", "//a%2Fb"},
		"prefix:www.example.com/":                {"www.example.com", "/"},
		"prefix:www.example.com/a/b":             {"www.example.com", "/a/b"},
	} {
		s, err := ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		if host, path := s.HostPath(); host != want[0] || path != want[1] {
			t.Errorf("%s: %q and %q, want %q", text, host, path, want)
		}
	}
}
