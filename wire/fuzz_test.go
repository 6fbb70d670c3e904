package wire

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fuzzDocument holds that what is accepted is valid, can be encoded, and reads back as
// the same.
func fuzzDocument(f *testing.F, good document, empty func() document) {
	b, err := encode(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Replace(b, []byte(`"`), []byte(`"\u0041`), 3))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc := empty()
		if err := decode("doc", MaxManifest, data, doc); err != nil {
			return
		}
		b, err := encode(doc)
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		again := empty()
		if err := decode("doc", MaxManifest, b, again); err != nil {
			t.Fatalf("encoded, but cannot be decoded: %v\n%s", err, b)
		}
		c, err := encode(again)
		if err != nil || !bytes.Equal(b, c) {
			t.Fatalf("two encodings, %v:\n%s\n%s", err, b, c)
		}
	})
}

func FuzzManifest(f *testing.F) {
	fuzzDocument(f, goodManifest(), func() document { return new(Manifest) })
}
func FuzzDesired(f *testing.F) {
	fuzzDocument(f, goodDesired(), func() document { return new(Desired) })
}
func FuzzReport(f *testing.F) { fuzzDocument(f, goodReport(), func() document { return new(Report) }) }
func FuzzBeacon(f *testing.F) { fuzzDocument(f, goodBeacon(), func() document { return new(Beacon) }) }
func FuzzRoot(f *testing.F)   { fuzzDocument(f, goodRoot(), func() document { return new(Root) }) }

// FuzzEnvelope holds that nothing but the signed payload ever comes out.
func FuzzEnvelope(f *testing.F) {
	good := sealed(f, TypeDesired, goodDesired(), testKey(6))
	payload, _ := goodDesired().Encode()
	f.Add(good)
	f.Add(sealed(f, TypeBeacon, goodBeacon(), testKey(6)))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := open("desired", TypeDesired, MaxDesired, data, one)
		if err == nil && !bytes.Equal(got, payload) {
			t.Fatalf("accepted what was not signed:\n%s", got)
		}
	})
}

func FuzzGeneration(f *testing.F) {
	f.Add("eu-west-1-17")
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := ParseGeneration(s); err == nil && g.String() != s {
			t.Fatalf("%q read as %q", s, g)
		}
	})
}

func FuzzStatusSubject(f *testing.F) {
	f.Add("eg.status.eu-west.node-a")
	f.Fuzz(func(t *testing.T, s string) {
		if r, a, err := ParseStatusSubject(s); err == nil && StatusSubject(r, a) != s {
			t.Fatalf("%q read as %q, %q", s, r, a)
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("1.4.0", "1.10")
	f.Fuzz(func(t *testing.T, a, b string) {
		v, w := Version(a), Version(b)
		if v.Check() != nil || w.Check() != nil {
			return
		}
		if v.Compare(w) != -w.Compare(v) || v.Compare(v) != 0 || v.Compare("") != 1 {
			t.Fatalf("%q and %q are not ordered", a, b)
		}
	})
}

// FuzzShape holds the strict walk against encoding/json: it may refuse more, but never
// lets pass a document whose keys would be read in two ways.
func FuzzShape(f *testing.F) {
	f.Add([]byte(`{"fleet":"a","Fleet":"b"}`))
	f.Add([]byte(`{"heads":{"a":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, b Beacon
		if DecodeJSON("beacon", MaxBeacon, data, &a) != nil {
			return
		}
		out, err := EncodeJSON(&a)
		if err != nil {
			t.Skip() // a year beyond 9999
		}
		if err := DecodeJSON("beacon", MaxManifest, out, &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
}
