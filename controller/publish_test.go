package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/membus"
)

func one(ids ...wire.AgentID) map[wire.Region][]wire.AgentID {
	return map[wire.Region][]wire.AgentID{ams: ids}
}

func TestPublish(t *testing.T) {
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	ctx := t.Context()
	v2 := f.publish(d, site(edge, "2", "a", "b"))
	if v2.Files != 2 || v2.Bytes != 2 || v2.By != "op" {
		t.Errorf("published %+v, want 2 files of 1 byte each by op", v2)
	}

	t.Run("unsigned", func(t *testing.T) {
		_, err := d.Publish(ctx, site(edge, "3", "a", "b").pack(t, d.PutBlob), "op")
		wantErr(t, "an unsigned bundle", err, wire.ErrSignature)
	})
	t.Run("signed by a stranger", func(t *testing.T) {
		_, err := d.Publish(ctx, site(edge, "3", "a", "b").pack(t, d.PutBlob, newKey(t)), "op")
		wantErr(t, "a stranger's bundle", err, wire.ErrSignature)
	})
	t.Run("signed by the controller", func(t *testing.T) {
		_, err := d.Publish(ctx, site(edge, "3", "a", "b").pack(t, d.PutBlob, f.control), "op")
		wantErr(t, "a bundle signed by the controller's key", err, wire.ErrSignature)
	})
	t.Run("a stranger signs too", func(t *testing.T) {
		info, err := d.Publish(ctx, site(waf, "1", "a", "b").pack(t, d.PutBlob, f.author, newKey(t)), "op")
		if err != nil || len(info.Authors) != 1 || info.Authors[0] != f.author.Public().ID() {
			t.Errorf("authors are %v, %v, want only the one that is trusted", info.Authors, err)
		}
	})
	t.Run("tampered index", func(t *testing.T) {
		var blobs [][]byte
		site(edge, "3", "a", "b").pack(t, func(_ context.Context, _ wire.Digest, data []byte) error {
			blobs = append(blobs, data)
			return nil
		}, f.author)
		for _, b := range blobs[:len(blobs)-1] {
			must(t, d.PutBlob(ctx, wire.DigestOf(b), b))
		}
		index := string(blobs[len(blobs)-1])
		other := strings.Replace(index, v3Digest(t, index), v2.Digest.String(), 1)
		must(t, d.PutBlob(ctx, wire.DigestOf([]byte(other)), []byte(other)))
		_, err := d.Publish(ctx, wire.DigestOf([]byte(other)), "op")
		if err == nil {
			t.Error("an index that names another bundle than its manifest was taken")
		}
	})
	t.Run("tampered blob", func(t *testing.T) {
		if err := d.PutBlob(ctx, wire.DigestOf([]byte("x")), []byte("y")); !errors.Is(err, controller.ErrInvalid) {
			t.Errorf("a blob under another's digest: got error %v", err)
		}
		if err := d.PutBlob(ctx, wire.DigestOf(make([]byte, wire.MaxBlob+1)), make([]byte, wire.MaxBlob+1)); !errors.Is(err, controller.ErrInvalid) {
			t.Errorf("a blob that is too large: got error %v", err)
		}
	})
	t.Run("missing blobs", func(t *testing.T) {
		var kept []wire.Digest
		index := site(edge, "3", "other", "words").pack(t, func(ctx context.Context, d2 wire.Digest, data []byte) error {
			kept = append(kept, d2)
			if len(kept) == 2 { // the content
				return nil
			}
			return d.PutBlob(ctx, d2, data)
		}, f.author)
		missing, err := d.MissingBlobs(ctx, kept)
		if err != nil || len(missing) != 1 || missing[0] != kept[1] {
			t.Errorf("missing are %v, %v, want %v", missing, err, kept[1])
		}
		_, err = d.Publish(ctx, index, "op")
		wantErr(t, "a bundle with a blob missing", err, controller.ErrInvalid)
		_, err = d.Publish(ctx, wire.DigestOf([]byte("nothing")), "op")
		wantErr(t, "an index that was never uploaded", err, wire.ErrNotFound)
	})
	t.Run("lower version", func(t *testing.T) {
		for _, v := range []wire.Version{"1", "2.0"} {
			_, err := d.Publish(ctx, site(edge, v, "x", "y").pack(t, d.PutBlob, f.author), "op")
			wantErr(t, "version "+string(v)+" after 2", err, controller.ErrConflict)
		}
	})
	t.Run("rule nobody can carry out", func(t *testing.T) {
		for selector, want := range map[string]string{
			"prefix:www.example.com/a/": "purge[1].selectors[1]: region ams, provider ",
			"key:a b":                   "purge[1].selectors[1] ",
			"nonsense":                  "purge[1].selectors[1] ",
			"key:{nobody}":              "purge[1].selectors[1] ",
		} {
			c := site(edge, "3", "a", "b")
			c.purge[1].Selectors = []string{"key:fine", selector}
			_, err := d.Publish(ctx, c.pack(t, d.PutBlob, f.author), "op")
			wantErr(t, "selector "+selector, err, controller.ErrInvalid)
			if !strings.Contains(err.Error(), ": "+want) {
				t.Errorf("selector %s: %v, want %q", selector, err, want)
			}
		}
		c := site(edge, "3", "a", "b")
		c.purge = append(c.purge, wire.PurgeRule{Files: "gone/**", Selectors: []string{"prefix:www.example.com/a/"}})
		_, err := d.Publish(ctx, c.pack(t, d.PutBlob, f.author), "op")
		wantErr(t, "a rule over files that only the bundle before had", err, controller.ErrInvalid)
	})
	t.Run("repeat is free", func(t *testing.T) {
		before := len(f.auditHolds(d))
		again, err := d.Publish(ctx, site(edge, "2", "a", "b").pack(t, d.PutBlob, f.author), "another")
		if err != nil || again.By != "op" || !again.Published.Equal(v2.Published) {
			t.Errorf("published again: %+v, %v, want the first one", again, err)
		}
		if after := len(f.auditHolds(d)); after != before {
			t.Errorf("publishing again was audited %d times", after-before)
		}
	})
	bundles, err := d.Bundles(ctx, edge)
	if err != nil || len(bundles) != 1 || bundles[0].Version != "2" {
		t.Errorf("bundles are %v, %v, want version 2 alone", bundles, err)
	}
}

// The limits of the version before bind the next, whatever that one says of itself: it
// may have been built by a tool that knows of none.
func TestPublishHoldsTheLimitsBefore(t *testing.T) {
	f := newFleet(t, spec{regions: one()})
	d := f.drive()
	bundle := func(v wire.Version, limits wire.Limits, a string) content {
		c := site(edge, v, a, "b")
		c.limits = limits
		return c
	}
	limits, wider := wire.Limits{File: 8, Growth: 2}, wire.Limits{File: 1 << 20}
	f.publish(d, bundle("1", limits, "12345678"))
	for _, tt := range []struct {
		c    content
		want string
	}{
		{bundle("2", wider, "123456789"), "files: a.conf has 9 bytes, limits.file of 1 allows 8"},
		{bundle("2", wire.Limits{}, "1234567890123456789"), "most in a.conf, limits.growth of 1 allows 2 times as much"},
	} {
		_, err := d.Publish(t.Context(), tt.c.pack(t, d.PutBlob, f.author), "op")
		wantErr(t, tt.want, err, wire.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("refused with %v, want %q", err, tt.want)
		}
	}
	f.publish(d, bundle("2", wider, "12345678"))
	f.publish(d, bundle("3", wider, strings.Repeat("x", 100)))
	f.publish(d, bundle("1", limits, "12345678")) // again, which is free
}

// A bus that was wiped is given the journal again, and nobody has the content of bundles
// but who published them: until it is published again, nothing is rolled out that no agent
// could stage.
func TestContentLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) { *c = controller.WithLosses(*c, 50*time.Millisecond) }})
	d := f.drive()
	empty := f.bus.Keep()
	v1, v2 := site(edge, "1", "a", "b"), site(edge, "2", "a2", "b")
	f.roll(d, f.publish(d, v1), plan([]wire.Region{ams}), "done")
	f.publish(d, v2)
	d.settles()
	f.setBack(empty)

	req := controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})}
	const lost2 = "content of edge 2 is missing on the bus: publish it again"
	const lost1 = "to go back to: content of edge 1 is missing on the bus: publish it again"
	says := func(missing []bool, warnings ...string) {
		t.Helper()
		list, err := d.Bundles(t.Context(), edge)
		must(t, err)
		for i, b := range list {
			if b.Missing != missing[i] {
				t.Errorf("%s: missing is %t, want %t", b.Version, b.Missing, missing[i])
			}
		}
		view, err := d.Plan(t.Context(), req)
		must(t, err)
		for _, w := range []string{lost2, lost1} {
			if has, want := slices.Contains(view.Regions[0].Warnings, w), slices.Contains(warnings, w); has != want {
				t.Errorf("the plan warns %q, %q among it: %t, want %t", view.Regions[0].Warnings, w, has, want)
			}
		}
	}
	says([]bool{true, true}, lost2, lost1)
	_, err := d.Start(t.Context(), req, "op")
	wantErr(t, "a start without the content", err, controller.ErrConflict)
	if err != nil && !strings.Contains(err.Error(), lost2) {
		t.Errorf("refused with %v, want %q", err, lost2)
	}

	info := f.publish(d, v2)
	says([]bool{true, false}, lost1)
	f.roll(d, info, plan([]wire.Region{ams}), "done")
}

// A controller that has lost its disk, too, names the bundle whose manifest nobody has.
func TestManifestLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	f.publish(d, site(edge, "1", "a", "b"))
	var records map[string][]byte
	eventually(t, func() (err error) {
		if records, err = f.bus.Controller("journal").Journal(t.Context()); err == nil && len(records) < 2 {
			err = fmt.Errorf("the bus has %v, want the agent and the bundle", wire.Keys(records))
		}
		return err
	})
	must(t, d.stop())
	bus, err := membus.New(membus.Config{})
	must(t, err)
	t.Cleanup(bus.Close)
	f.bus = bus
	other := bus.Controller("journal")
	fence, err := other.TakeLease(t.Context(), "nobody", 0)
	must(t, err)
	for key, r := range records {
		must(t, other.PutJournal(t.Context(), fence, key, r))
	}
	f.spec.config = func(c *controller.Config) { *c = controller.WithSilence(*c, 50*time.Millisecond) }
	d = f.launch("main", t.TempDir())
	d.leads()
	for _, ask := range []func() error{
		func() error {
			_, err := d.Plan(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})})
			return err
		},
		func() error {
			_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "1", Plan: plan([]wire.Region{ams})}, "op")
			return err
		},
	} {
		err := ask()
		wantErr(t, "what needs the manifest", err, controller.ErrConflict)
		if want := "content of edge 1 is missing on the bus: publish it again"; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Once an author's key is replaced in the root, what regions run is still compared and
// purged, and nothing that only the old key has signed is rolled out anew.
func TestAuthorReplaced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	alive := f.purger
	f.roll(d, f.publish(d, site(edge, "1", "a", "b")), plan([]wire.Region{ams}), "done")

	d = f.bounce(d, f.dir, func() { f.purger = newPurger(t, "http://127.0.0.1:1") })
	v2 := f.publish(d, site(edge, "2", "a2", "b"))
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	eventually(t, func() error {
		entries, err := d.Purges(t.Context(), ams, edge)
		must(t, err)
		if !slices.ContainsFunc(entries, func(e controller.PurgeView) bool { return e.Item.Epoch == 2 }) {
			return errors.New("nothing is to be purged")
		}
		return nil
	})
	next := newKey(t)
	d = f.bounce(d, f.dir, func() { f.purger = alive; f.authors(next) })
	f.ends(d, v2, "done") // the purge under way is carried through

	for _, v := range []wire.Version{"1", "2"} {
		req := controller.StartRequest{App: edge, Version: v, Plan: plan([]wire.Region{ams})}
		want := fmt.Sprintf("agents would not take edge %s: publish it again, signed by authors of today's root", v)
		view, err := d.Plan(t.Context(), req)
		must(t, err)
		if !slices.ContainsFunc(view.Regions[0].Warnings, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("the plan warns %q, want %q among it", view.Regions[0].Warnings, want)
		}
		_, err = d.Start(t.Context(), req, "op")
		wantErr(t, "a start of what only the old key has signed", err, controller.ErrConflict)
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
	for _, c := range []content{site(edge, "2", "a2", "b"), site(edge, "3", "a3", "b")} {
		info, err := d.Publish(t.Context(), c.pack(t, d.PutBlob, next), "op")
		must(t, err)
		f.roll(d, info, plan([]wire.Region{ams}), "done")
	}
}

// Content that the bus has lost may be published again by another author: the catalogue
// tells so, and what regions run or are to run is offered as it was published last.
func TestPublishedAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1"), config: func(c *controller.Config) { *c = controller.WithLosses(*c, 50*time.Millisecond) }})
	other := newKey(t)
	f.authors(f.author, other)
	d := f.drive()
	empty := f.bus.Keep()
	v1, v2 := site(edge, "1", "a", "b"), site(edge, "2", "a2", "b")
	first := []controller.BundleInfo{f.publish(d, v1), f.publish(d, v2)}
	f.roll(d, first[0], plan([]wire.Region{ams}), "done")
	f.agents["a1"].behave(behaviour{silent: true})
	_, err := d.Start(t.Context(), controller.StartRequest{App: edge, Version: "2", Plan: plan([]wire.Region{ams})}, "op")
	must(t, err)
	d.settles()
	f.setBack(empty)

	var again []controller.BundleInfo
	for i, c := range []content{v1, v2} {
		for range 2 { // the second time changes nothing
			info, err := d.Publish(t.Context(), c.pack(t, d.PutBlob, other), "carol")
			must(t, err)
			want := first[i]
			want.Index, want.Packed, want.Authors = info.Index, info.Packed, []string{other.Public().ID()}
			if diff := cmp.Diff(want, info); diff != "" || info.Index == first[i].Index {
				t.Errorf("published again (-want +got):\n%s", diff)
			}
			again = append(again[:i], info)
		}
	}
	list, err := d.Bundles(t.Context(), edge)
	must(t, err)
	if diff := cmp.Diff(again, list); diff != "" {
		t.Errorf("the catalogue (-want +got):\n%s", diff)
	}
	var told []string
	for _, e := range f.auditHolds(d) {
		if e.Kind == "publish" && e.By == "carol" {
			told = append(told, e.Text)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "carol published edge 1 ") || !strings.Contains(told[0], other.Public().ID()) {
		t.Errorf("the audit log tells %q", told)
	}
	eventually(t, func() error {
		envelope, err := f.bus.Controller("reader").Want(t.Context(), ams)
		if err != nil {
			return err
		}
		order, err := f.trust.OpenDesired(envelope, ams)
		must(t, err)
		o := order.Apps[edge]
		for i, target := range []wire.Target{*o.Base, o.Next.Target} {
			if target.Digest != again[i].Digest || len(target.Packs) != 1 || target.Packs[0].Index != again[i].Index {
				return fmt.Errorf("order %d offers %s as %v, want %s", order.Sequence, target.Version, target.Packs, again[i].Index)
			}
		}
		return nil
	})
	f.agents["a1"].behave(behaviour{})
	f.ends(d, again[1], "done")
}

// v3Digest finds the bundle's digest in an encoded index.
func v3Digest(t *testing.T, index string) string {
	t.Helper()
	_, after, ok := strings.Cut(index, `"digest":"`)
	if !ok {
		t.Fatalf("no digest in %s", index)
	}
	return after[:64]
}
