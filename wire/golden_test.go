package wire

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds every document's encoding and signature against a file: agents of
// yesterday read what is written today. The keys are 32 times the byte 1, 2, 4, 5, 6, 7.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name, payloadType string
		doc, empty        document
		keys              []PrivateKey
	}{
		{"root", TypeRoot, goodRoot(), new(Root), []PrivateKey{testKey(1), testKey(2)}},
		{"manifest", TypeManifest, goodManifest(), new(Manifest), []PrivateKey{testKey(4), testKey(5)}},
		{"desired", TypeDesired, goodDesired(), new(Desired), []PrivateKey{testKey(6)}},
		{"report", TypeReport, goodReport(), new(Report), []PrivateKey{testKey(7)}},
		{"beacon", TypeBeacon, goodBeacon(), new(Beacon), []PrivateKey{testKey(6)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload, err := encode(tt.doc)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".json", payload)
			golden(t, tt.name+".dsse.json", sealed(t, tt.payloadType, tt.doc, tt.keys...))
			if err := decode(tt.name, MaxManifest, payload, tt.empty); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.doc, tt.empty, cmp.AllowUnexported(PublicKey{})); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", file, diff)
	}
}
