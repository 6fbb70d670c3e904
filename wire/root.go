package wire

import (
	"fmt"
	"time"
)

// MaxRoot bounds a root with its signatures.
const MaxRoot = 64 << 10

// Role is what a key may sign.
type Role string

// The roles. An agent's key is in no root: the controller learns it at enrolment.
const (
	RoleRoot       Role = "root"
	RoleAuthor     Role = "author"     // bundles
	RoleController Role = "controller" // desired documents and beacons
)

// Root says whose signatures count. Version N+1 is signed by the root thresholds of
// both N and N+1; an agent starts from the root it was enrolled with.
type Root struct {
	Fleet   Fleet            `json:"fleet"`
	Version uint64           `json:"version"` // ascending by one
	Expires time.Time        `json:"expires"`
	Roles   map[Role]KeyRole `json:"roles"` // root, author and controller
}

// KeyRole is the keys of a role and how many distinct ones have to sign.
type KeyRole struct {
	Threshold int         `json:"threshold"`
	Keys      []PublicKey `json:"keys"`
}

// Encode validates r and returns its payload bytes.
func (r *Root) Encode() ([]byte, error) { return encode(r) }

// Validate implements the strict check of the document.
func (r *Root) Validate() error {
	c := &checker{doc: "root"}
	c.token("fleet", string(r.Fleet))
	c.that(r.Version > 0, "version", "is missing")
	c.that(!r.Expires.IsZero(), "expires", "is missing")
	for _, role := range Keys(r.Roles) {
		switch role {
		case RoleRoot, RoleAuthor, RoleController:
		default:
			c.fail("roles", "%q is not a role", role)
		}
	}
	for _, role := range []Role{RoleRoot, RoleAuthor, RoleController} {
		kr, field := r.Roles[role], "roles."+string(role)
		c.that(len(kr.Keys) <= 32, field+".keys", "are %d, at most 32 are allowed", len(kr.Keys))
		distinct := make(map[string]bool)
		for i, k := range kr.Keys {
			c.that(!distinct[k.String()], fmt.Sprintf("%s.keys[%d]", field, i), "is listed twice")
			distinct[k.String()] = true
			c.that(!k.IsZero(), fmt.Sprintf("%s.keys[%d]", field, i), "is missing")
		}
		c.that(kr.Threshold >= 1 && kr.Threshold <= len(distinct), field+".threshold", "is %d with %d keys", kr.Threshold, len(distinct))
	}
	return c.err
}
