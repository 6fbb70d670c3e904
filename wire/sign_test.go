package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// edited takes an envelope apart, changes it and puts it together again.
func edited(t *testing.T, envelope []byte, edit func(*dsse.Envelope)) []byte {
	t.Helper()
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	edit(&e)
	b, err := EncodeJSON(&e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var one = KeyRole{1, publics(6)}
var two = KeyRole{2, publics(4, 5)}

// The dsse verifier accepts any payload type: a beacon signed by the controller must not
// pass for an order.
func TestTrapAnyPayloadType(t *testing.T) {
	d := sealed(t, TypeDesired, goodDesired(), testKey(6))
	if _, err := open("desired", TypeDesired, MaxDesired, d, one); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{TypeBeacon, TypeReport, TypeManifest, TypeRoot, "", "application/json"} {
		if _, err := open("desired", TypeDesired, MaxDesired, sealed(t, other, goodDesired(), testKey(6)), one); !errors.Is(err, ErrInvalid) {
			t.Errorf("type %q: %v, want %v", other, err, ErrInvalid)
		}
		// Relabelling it breaks the signature.
		forged := edited(t, sealed(t, other, goodDesired(), testKey(6)), func(e *dsse.Envelope) { e.PayloadType = TypeDesired })
		if _, err := open("desired", TypeDesired, MaxDesired, forged, one); !errors.Is(err, ErrSignature) {
			t.Errorf("relabelled from %q: %v, want %v", other, err, ErrSignature)
		}
	}
}

// To the dsse verifier one key listed under two ids satisfies a threshold of two. Ours
// follow from the key, a key counts once however often a role lists it, and a root that
// lists one twice is refused.
func TestTrapOneKeyTwice(t *testing.T) {
	k := testKey(4)
	e := sealed(t, TypeManifest, goodManifest(), k, k)
	if _, err := open("manifest", TypeManifest, MaxManifest, e, two); !errors.Is(err, ErrSignature) {
		t.Errorf("signed twice: %v, want %v", err, ErrSignature)
	}
	for _, id := range []string{"", "other", testKey(5).Public().ID()} {
		renamed := edited(t, e, func(e *dsse.Envelope) { e.Signatures[1].KeyID = id })
		if _, err := open("manifest", TypeManifest, MaxManifest, renamed, two); !errors.Is(err, ErrSignature) {
			t.Errorf("signed twice, as %q: %v, want %v", id, err, ErrSignature)
		}
	}
	if _, err := open("manifest", TypeManifest, MaxManifest, e, KeyRole{2, publics(4, 4)}); !errors.Is(err, ErrSignature) {
		t.Errorf("listed twice: %v, want %v", err, ErrSignature)
	}
	r := goodRoot()
	r.Roles[RoleAuthor] = KeyRole{2, publics(4, 4)}
	wantField(t, r.Validate(), "roles.author.keys[1]")
}

// To the dsse verifier one signature that cannot be decoded fails an envelope that is
// otherwise good: anyone on the way could make it unreadable.
func TestTrapUndecodableSignature(t *testing.T) {
	good := sealed(t, TypeManifest, goodManifest(), testKey(4), testKey(5))
	for _, sig := range []string{"", "!", "%%%%", "AAAA", strings.Repeat("A", 88)} {
		for at := range 3 {
			e := edited(t, good, func(e *dsse.Envelope) {
				e.Signatures = slices.Insert(e.Signatures, at, Signature{KeyID: testKey(4).Public().ID(), Sig: sig})
			})
			if _, err := open("manifest", TypeManifest, MaxManifest, e, two); err != nil {
				t.Errorf("%q at %d: %v", sig, at, err)
			}
		}
	}
	// Both alphabets of base64 are good, as DSSE asks.
	url := edited(t, good, func(e *dsse.Envelope) {
		for i, s := range e.Signatures {
			e.Signatures[i].Sig = strings.NewReplacer("+", "-", "/", "_").Replace(s.Sig)
		}
	})
	if _, err := open("manifest", TypeManifest, MaxManifest, url, two); err != nil {
		t.Errorf("base64url: %v", err)
	}
}

// The dsse verifier has no bound: ours holds before a signature is looked at.
func TestTrapSizeAndCount(t *testing.T) {
	e := sealed(t, TypeDesired, goodDesired(), testKey(6))
	if _, err := open("desired", TypeDesired, len(e)-1, e, one); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over: %v, want %v", err, ErrTooLarge)
	}
	if _, err := open("desired", TypeDesired, len(e), e, one); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	for n, want := range map[int]error{maxSignatures: nil, maxSignatures + 1: ErrTooLarge} {
		many := edited(t, e, func(e *dsse.Envelope) { e.Signatures = slices.Repeat(e.Signatures, n) })
		if _, err := open("desired", TypeDesired, MaxDesired, many, one); !errors.Is(err, want) {
			t.Errorf("%d signatures: %v, want %v", n, err, want)
		}
	}
	big := goodBeacon()
	for i := range 20_000 {
		big.Heads[Region(fmt.Sprintf("region-%d", i))] = 1
	}
	payload, err := big.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(TypeBeacon, payload, testKey(6)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sealing what nobody would read: %v, want %v", err, ErrTooLarge)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := sealed(t, TypeDesired, goodDesired(), testKey(6))
	for _, tt := range []struct {
		name string
		edit func(*dsse.Envelope)
		want error
	}{
		{"no signature", func(e *dsse.Envelope) { e.Signatures = nil }, ErrSignature},
		{"another key's", func(e *dsse.Envelope) { e.Signatures[0].KeyID = testKey(5).Public().ID() }, ErrSignature},
		{"changed payload", func(e *dsse.Envelope) { e.Payload = "e30=" }, ErrSignature},
		{"payload that is not base64", func(e *dsse.Envelope) { e.Payload = "!" }, ErrSignature},
		{"cut signature", func(e *dsse.Envelope) { e.Signatures[0].Sig = e.Signatures[0].Sig[:84] }, ErrSignature},
	} {
		if _, err := open("desired", TypeDesired, MaxDesired, edited(t, good, tt.edit), one); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for name, e := range map[string]string{
		"unknown key":   strings.Replace(string(good), `"payload":`, `"x":1,"payload":`, 1),
		"duplicate key": strings.Replace(string(good), `"payload":`, `"payload":"e30=","payload":`, 1),
		"other case":    strings.Replace(string(good), `"payload":`, `"PAYLOAD":`, 1),
		"data behind":   string(good) + "{}",
		"empty":         "",
	} {
		if _, err := open("desired", TypeDesired, MaxDesired, []byte(e), one); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, ErrInvalid)
		}
	}
	if _, err := open("desired", TypeDesired, MaxDesired, good, KeyRole{1, make([]PublicKey, 1)}); !errors.Is(err, ErrSignature) {
		t.Errorf("the zero key: %v, want %v", err, ErrSignature)
	}
	if _, err := open("desired", TypeDesired, MaxDesired, good, KeyRole{}); !errors.Is(err, ErrSignature) {
		t.Errorf("a role without keys: %v, want %v", err, ErrSignature)
	}
}

func TestSignWithoutKey(t *testing.T) {
	if _, err := Sign(TypeDesired, []byte("{}")); err == nil {
		t.Error("signed with no key")
	}
	if _, err := Sign(TypeDesired, []byte("{}"), PrivateKey{}); err == nil {
		t.Error("signed with an empty key")
	}
}

func TestKeysHideTheirSecret(t *testing.T) {
	k := testKey(6)
	secret := strings.TrimPrefix(k.Secret(), privatePrefix)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %[1]v"} {
		s := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, struct{ K PrivateKey }{k}) + fmt.Sprintf(verb, &k)
		if strings.Contains(s, secret) || strings.Contains(s, "0606") || strings.Contains(s, "6 6 6") || strings.Contains(s, "0x6, 0x6") {
			t.Errorf("%s shows %s", verb, s)
		}
	}
	if b, _ := json.Marshal(struct{ K PrivateKey }{k}); strings.Contains(string(b), secret) {
		t.Errorf("JSON shows %s", b)
	}
}

func TestKeyText(t *testing.T) {
	k := testKey(6)
	back, err := ParsePrivateKey("\n" + k.Secret() + " \n")
	if err != nil || back.Public() != k.Public() {
		t.Errorf("private key read back as %v, %v", back, err)
	}
	var p PublicKey
	text := k.Public().String()
	if err := p.UnmarshalText([]byte(text)); err != nil || p != k.Public() {
		t.Errorf("public key read back as %v, %v", p, err)
	}
	for _, bad := range []string{"", "ed25519:", text + "A", text[:30] + "\n" + text[30:], text + "\n", strings.ToUpper(text), k.Secret(), text[:len(text)-1] + "/", publicPrefix + strings.Repeat("A", 43)} {
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	if _, err := ParsePrivateKey(text); err == nil {
		t.Error("took a public key for a private one")
	}
}

// The zero key is a point of order four: a signature that needs no private key verifies
// under it for one text in four. It is what a map of keys returns for an unknown agent.
func TestTrapZeroKey(t *testing.T) {
	sig := make([]byte, ed25519.SignatureSize)
	sig[0] = 1 // R is the identity, S is 0
	for i := range 1000 {
		r := goodReport()
		r.Sequence += uint64(i)
		payload, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !ed25519.Verify(make([]byte, ed25519.PublicKeySize), dsse.PAE(TypeReport, payload), sig) {
			continue
		}
		forged, err := EncodeJSON(&dsse.Envelope{PayloadType: TypeReport, Payload: base64.StdEncoding.EncodeToString(payload),
			Signatures: []Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := goodTrust(t).OpenReport(forged, "node-a", PublicKey{}); !errors.Is(err, ErrSignature) {
			t.Fatalf("a report signed by nobody: %v, want %v", err, ErrSignature)
		}
		return
	}
	t.Fatal("found no text for the forgery: the test proves nothing")
}
