package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

// maxTokens bounds a token file: every request is compared with each of its lines.
const maxTokens = 1024

// Tokens says who may use the API. It is immutable.
type Tokens struct{ list []token }

type token struct {
	name string
	role Role
	sum  [sha256.Size]byte
}

// LoadTokens reads a token file, see [ParseTokens].
func LoadTokens(path string) (*Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the token file: %w", err)
	}
	t, err := ParseTokens(data)
	if err != nil {
		return nil, fmt.Errorf("cannot read the token file %s: %w", path, err)
	}
	return t, nil
}

// ParseTokens reads lines of "name role sha256", the last being the hexadecimal SHA-256
// of the token; [TokenLine] writes them. Empty lines and lines that begin with # are
// skipped. Names and tokens are unique, and there is at least one.
func ParseTokens(data []byte) (*Tokens, error) {
	t := new(Tokens)
	names := make(map[string]bool)
	sums := make(map[[sha256.Size]byte]bool)
	s := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("line %d has %d fields, want name, role and sha256", n, len(f))
		}
		if err := wire.CheckToken(f[0]); err != nil {
			return nil, fmt.Errorf("line %d: name %w", n, err)
		}
		role, err := ParseRole(f[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		sum, err := wire.ParseDigest(f[2])
		if err != nil {
			// The field may be a token that was put here by mistake: it is not repeated.
			return nil, fmt.Errorf("line %d: sha256 is not 64 lower-case hexadecimal digits", n)
		}
		if names[f[0]] || sums[sum] {
			return nil, fmt.Errorf("line %d: the name or the token of %s appears twice", n, f[0])
		}
		names[f[0]], sums[sum] = true, true
		if t.list = append(t.list, token{f[0], role, sum}); len(t.list) > maxTokens {
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(t.list) == 0 {
		return nil, fmt.Errorf("holds no token")
	}
	return t, nil
}

// Lookup returns the name and role of a token, or "" and [RoleNone]. Its time does not
// depend on which token is close to the one presented.
func (t *Tokens) Lookup(presented string) (name string, role Role) {
	sum := sha256.Sum256([]byte(presented))
	for i := range t.list {
		if subtle.ConstantTimeCompare(sum[:], t.list[i].sum[:]) == 1 {
			name, role = t.list[i].name, t.list[i].role
		}
	}
	return name, role
}

// GenerateToken makes a token from 32 bytes of r, which is crypto/rand.Reader outside
// tests.
func GenerateToken(r io.Reader) (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("cannot generate a token: %w", err)
	}
	return "ebbgate-" + base64.RawURLEncoding.EncodeToString(b), nil
}

// TokenLine returns the line of a token file that admits a token, with its newline.
func TokenLine(name string, role Role, token string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("%s %s %s\n", name, role, hex.EncodeToString(sum[:]))
}
