package bustest

import (
	"context"
	"errors"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

func testLimits(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	d := wire.DigestOf([]byte("blob"))
	for _, test := range []struct {
		name string
		most int
		put  func(b []byte) error
	}{
		{"want", wire.MaxDesired, func(b []byte) error { return c.PutWant(background(t), fence, region, b) }},
		{"journal", wire.MaxBlob, func(b []byte) error { return c.PutJournal(background(t), fence, "app", b) }},
		{"blob", wire.MaxBlob, func(b []byte) error { return c.PutBlob(background(t), d, b) }},
		{"beacon", wire.MaxBeacon, c.Beacon},
	} {
		wantErr(t, test.name+" beyond its limit", test.put(make([]byte, test.most+1)), wire.ErrTooLarge)
		if err := test.put(nil); err == nil {
			t.Errorf("an empty %s was taken", test.name)
		}
		if err := test.put(make([]byte, test.most)); err != nil {
			t.Errorf("%s at its limit: %v", test.name, err)
		}
	}
	report := func(n int) error { return a.Report(background(t), region, agent, make([]byte, n)) }
	wantErr(t, "report beyond its limit", report(wire.MaxReport+1), wire.ErrTooLarge)
	if err := report(0); err == nil {
		t.Error("an empty report was taken")
	}
	if err := report(wire.MaxReport); err != nil {
		t.Errorf("report at its limit: %v", err)
	}
}

// A name that is not a token could reach another subject.
func testHostileNames(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	for _, name := range []string{"", "*", ">", "a.b", "a b", "EU", "a\r\nPUB x 0\r\n", "eu.>"} {
		r := wire.Region(name)
		for what, err := range map[string]error{
			"want":           second(a.Want(background(t), r)),
			"notes":          second(a.Notes(r, func([]byte) {})),
			"report":         a.Report(background(t), r, agent, []byte("x")),
			"report by":      a.Report(background(t), region, wire.AgentID(name), []byte("x")),
			"put want":       c.PutWant(background(t), fence, r, []byte("x")),
			"read want":      second(c.Want(background(t), r)),
			"delete journal": func() error { return c.DeleteJournal(background(t), fence, "app."+name+".") }(),
			"put journal":    c.PutJournal(background(t), fence, "app."+name+".", []byte("x")),
		} {
			if err == nil {
				t.Errorf("%s took the name %q", what, name)
			}
		}
	}
	for what, err := range map[string]error{
		"put blob": c.PutBlob(background(t), wire.Digest{}, []byte("x")),
		"has blob": second(c.HasBlob(background(t), wire.Digest{})),
		"blob":     second(a.Blob(background(t), wire.Digest{})),
	} {
		if err == nil {
			t.Errorf("%s took the digest of nothing", what)
		}
	}
	if _, err := c.TakeLease(background(t), "", fence); err == nil {
		t.Error("nobody took the lease")
	}
}

func second[T any](_ T, err error) error { return err }

func testClose(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	notes(t, a, region)
	for range 2 {
		a.Close()
		c.Close()
	}
	_, err := a.Want(background(t), region)
	wantErr(t, "want after close", err, wire.ErrDisconnected)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.PutWant(ctx, fence, region, []byte("x")); err == nil {
		t.Error("a closed controller wrote")
	}
}

func testContext(t *testing.T, f Fixture) {
	c, fence := leader(t, f)
	a := f.Agent(t, region, agent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range map[string]error{
		"want":     second(a.Want(ctx, region)),
		"report":   a.Report(ctx, region, agent, []byte("x")),
		"put want": c.PutWant(ctx, fence, region, []byte("x")),
		"put blob": c.PutBlob(ctx, wire.DigestOf([]byte("x")), []byte("x")),
		"journal":  second(c.Journal(ctx)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", what, err)
		}
	}
}
