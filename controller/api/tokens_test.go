package api_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/controller/api"
)

func TestParseTokens(t *testing.T) {
	good := api.TokenLine("alice", api.RoleOperator, "secret")
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "holds no token"},
		{"only a comment", "# nobody\n", "holds no token"},
		{"two fields", "alice operator\n", "line 1 has 2 fields"},
		{"bad name", strings.Replace(good, "alice", "Alice", 1), "line 1: name"},
		{"bad role", strings.Replace(good, "operator", "root", 1), `line 1: role "root"`},
		{"no role", strings.Replace(good, "operator", "none", 1), `line 1: role "none"`},
		{"the token itself", "alice operator my-secret-token\n", "line 1: sha256 is not"},
		{"upper case", strings.ToUpper(good[:5]) + good[5:], "line 1: name"},
		{"twice", good + good, "line 2: the name or the token of alice"},
		{"one token, two names", good + strings.Replace(good, "alice", "bob", 1), "line 2: the name or the token of bob"},
	} {
		_, err := api.ParseTokens([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "my-secret-token") {
			t.Errorf("%s: the error repeats the token: %v", c.name, err)
		}
	}
	tk, err := api.ParseTokens([]byte(good + api.TokenLine("bob", api.RoleViewer, "other")))
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{"secret": "alice operator", "other": "bob viewer", "": " none", "secret ": " none"} {
		if name, role := tk.Lookup(token); name+" "+role.String() != want {
			t.Errorf("Lookup(%q) = %s %s, want %s", token, name, role, want)
		}
	}
}

func TestGenerateToken(t *testing.T) {
	a, err := api.GenerateToken(bytes.NewReader(make([]byte, 32)))
	if err != nil || len(a) < 43 {
		t.Errorf("GenerateToken = %q, %v", a, err)
	}
	if _, err := api.GenerateToken(bytes.NewReader(nil)); err == nil {
		t.Error("GenerateToken without randomness succeeded")
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte(api.TokenLine("alice", api.RoleAdmin, "x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tk, err := api.ParseTokens(data); err == nil {
			if _, role := tk.Lookup(""); role != api.RoleNone && !bytes.Contains(data, []byte("e3b0c44298fc1c149afbf4c8996fb924")) {
				t.Errorf("an empty token is a %s", role)
			}
		}
	})
}
