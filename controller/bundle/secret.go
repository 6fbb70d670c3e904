package bundle

import (
	"bytes"
	"regexp"

	"github.com/nats-io/nkeys"
)

// secrets are texts that mark a private key. Each begins with its marker, by which it
// is looked for, and is at most overlap bytes long.
var secrets = []struct {
	marker []byte
	text   *regexp.Regexp
	what   string
}{
	{[]byte("-----BEGIN "), regexp.MustCompile(`^-----BEGIN ([A-Z0-9]+ ){0,4}PRIVATE KEY( BLOCK)?-----`), "a private key (PEM)"},
	{[]byte("-----BEGIN "), regexp.MustCompile(`^-----BEGIN ([A-Z0-9]+ ){0,2}NKEY SEED-----`), "an nkey seed (NATS credentials)"},
	{[]byte("ed25519-private:"), regexp.MustCompile(`^ed25519-private:[A-Za-z0-9_-]{43}`), "an ebbgate private key"},
}

const (
	overlap  = 128
	nkeySeed = 58 // characters of base32
)

// secretScanner is an [io.Writer] that looks for private keys in what is written to it,
// in constant memory. Found says what was found; "" is nothing.
type secretScanner struct {
	Found string

	carry []byte // the end of what was written, in which a secret may begin
	run   []byte // base32 characters up to now, at most one more than a seed has
}

func (s *secretScanner) Write(p []byte) (int, error) {
	if s.Found != "" {
		return len(p), nil
	}
	s.seeds(p)
	s.carry = append(s.carry, p...)
	for _, secret := range secrets {
		for at := 0; ; at++ {
			i := bytes.Index(s.carry[at:], secret.marker)
			if i < 0 {
				break
			}
			if at += i; secret.text.Match(s.carry[at:min(len(s.carry), at+overlap)]) {
				s.Found = secret.what
			}
		}
	}
	if extra := len(s.carry) - overlap; extra > 0 {
		s.carry = append(s.carry[:0], s.carry[extra:]...)
	}
	return len(p), nil
}

// Close looks at what the end of the content completes.
func (s *secretScanner) Close() { s.seeds([]byte{'\n'}) }

// seeds looks for words of base32 that are nkey seeds: their checksum tells them from
// other words.
func (s *secretScanner) seeds(p []byte) {
	for _, c := range p {
		if c >= 'A' && c <= 'Z' || c >= '2' && c <= '7' {
			if len(s.run) <= nkeySeed {
				s.run = append(s.run, c)
			}
			continue
		}
		if len(s.run) == nkeySeed && s.run[0] == 'S' {
			if _, _, err := nkeys.DecodeSeed(s.run); err == nil {
				s.Found = "an nkey seed"
			}
		}
		s.run = s.run[:0]
	}
}
