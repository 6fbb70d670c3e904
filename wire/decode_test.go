package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// wantField fails unless err blames the field, or is nil where field is "".
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var fe *FieldError
	switch {
	case field == "" && err != nil:
		t.Errorf("error %v, want none", err)
	case field != "" && (!errors.As(err, &fe) || fe.Field != field || !errors.Is(err, ErrInvalid)):
		t.Errorf("error %v, want one of field %s", err, field)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	type inner struct {
		Size   int64    `json:"size"`
		Digest Digest   `json:"digest"`
		Took   Duration `json:"took"`
	}
	type Embedded struct {
		Epoch Epoch `json:"epoch"`
	}
	type doc struct {
		Embedded
		Name  string           `json:"name"`
		List  []inner          `json:"list"`
		Map   map[string]inner `json:"map"`
		Ptr   *inner           `json:"ptr"`
		At    time.Time        `json:"at"`
		Raw   json.RawMessage  `json:"raw"`
		Plain int
		skip  int
	}
	deep := strings.Repeat("[", 17) + strings.Repeat("]", 17)
	for _, tt := range []struct{ name, text, field string }{
		{"good", `{"epoch":1,"name":"x","list":[{"size":1}],"map":{"a":{"took":"3s"}},"ptr":{},"at":"2026-11-23T12:00:00Z","raw":{"any":["thing"]},"Plain":1}`, ""},
		{"nulls", `{"list":null,"map":null,"ptr":null}`, ""},
		{"keys of a map differ in case", `{"map":{"a":{},"A":{}}}`, ""},
		{"unknown key", `{"nam":"x"}`, "nam"},
		{"unknown key in a list", `{"list":[{},{"sise":1}]}`, "list[1].sise"},
		{"unknown key in a map", `{"map":{"a":{"x":1}}}`, "map.a.x"},
		{"unexported field", `{"skip":1}`, "skip"},
		{"name of an embedded type", `{"Embedded":{}}`, "Embedded"},
		{"other case", `{"Name":"x"}`, "Name"},
		{"case folding beyond ASCII", `{"list":[{"ſize":1}]}`, "list[0].ſize"},
		{"escaped spelling of the same key", `{"name":"x","\u006eame":"y"}`, "name"},
		{"duplicate", `{"name":"x","name":"x"}`, "name"},
		{"duplicate in a list", `{"list":[{"size":1,"size":2}]}`, "list[0].size"},
		{"duplicate in a map", `{"map":{"a":{},"a":{}}}`, "map.a"},
		{"duplicate in a raw value", `{"raw":{"b":{"a":1,"a":2}}}`, "raw.b.a"},
		{"type", `{"list":[{"size":"1"}]}`, "list[0].size"},
		{"fraction", `{"epoch":1.5}`, "epoch"},
		{"negative epoch", `{"epoch":-1}`, "epoch"},
		{"overflow", `{"epoch":18446744073709551616}`, "epoch"},
		{"number for a text", `{"name":1}`, "name"},
		{"true for a number", `{"Plain":true}`, "Plain"},
		{"text for a list", `{"list":"x"}`, "list"},
		{"object for a list", `{"list":{}}`, "list"},
		{"list for an object", `{"ptr":[]}`, "ptr"},
		{"object for a digest", `{"ptr":{"digest":{}}}`, "ptr.digest"},
		{"number for a digest", `{"ptr":{"digest":1}}`, "ptr.digest"},
		{"exponent", `{"Plain":1e3}`, "Plain"},
		{"digest", `{"list":[{},{"digest":"AB"}]}`, "list[1].digest"},
		{"duration", `{"ptr":{"took":"-3s"}}`, "ptr.took"},
		{"time", `{"at":"yesterday"}`, "at"},
		{"deep", `{"raw":` + deep + `}`, "raw[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantField(t, DecodeJSON("doc", 1000, []byte(tt.text), new(doc)), tt.field)
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "space": " ", "cut": `{"name":`, "cut in a list": `{"list":[`, "two values": `{} {}`, "garbage behind": `{}x`, "not UTF-8": "{\"name\":\"\xff\"}",
		"a list": `[]`, "a string": `"x"`, "comma": `{"name":"x",}`, "bare word": `x`, "closing bracket": `]`,
	} {
		if err := DecodeJSON("doc", 1000, []byte(text), new(doc)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, ErrInvalid)
		}
	}
	if err := DecodeJSON("doc", 1, []byte("{}"), new(doc)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v, want %v", err, ErrTooLarge)
	}
	_ = doc{}.skip
}
